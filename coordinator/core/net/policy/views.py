"""Who is selected, kept up to date: members by what selectors look for first, and the views that policies need."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from coordinator.core.net.members import Member
from coordinator.core.net.policy.model import BlockScope, Owner, PodScope, Use, ViewKey
from coordinator.core.pool.selectors import Operator, Selector

Item = tuple[int, str]
"""Number of a named port (else 0), and a logical port or an address."""

NAME_LABEL = "kubernetes.io/metadata.name"


class Pivot(NamedTuple):
    """Where members and views meet: a namespace (empty: any) and a label (None: any)."""

    namespace: str
    label: tuple[str, str] | None


class Members:
    """All members, and the namespaces' labels."""

    def __init__(self) -> None:
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._labelled: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._members: dict[str, Member] = {}
        self._at: defaultdict[Pivot, dict[str, Member]] = defaultdict(dict)

    def get(self, port_id: str) -> Member | None:
        """The member of a port."""
        return self._members.get(port_id)

    def put(self, member: Member) -> None:
        """Take in a member, new or changed."""
        self.drop(member.port_id)
        self._members[member.port_id] = member
        for pivot in _pivots(member):
            self._at[pivot][member.port_id] = member

    def drop(self, port_id: str) -> Member | None:
        """Forget a member; returns it."""
        before = self._members.pop(port_id, None)
        for pivot in _pivots(before) if before else ():
            held = self._at[pivot]
            del held[port_id]
            if not held:
                del self._at[pivot]
        return before

    def of(self, namespace: str) -> list[Member]:
        """Members of a namespace."""
        return self.at(Pivot(namespace, None))

    def at(self, pivot: Pivot) -> list[Member]:
        """Members that a pivot lets through."""
        return list(self._at[pivot].values()) if pivot in self._at else []

    def put_namespace(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """Take in a namespace's labels, None when it is gone; returns whether they are others than before."""
        before = self._namespaces.get(name)
        if before == labels:
            return False
        for label in before.items() if before is not None else ():
            self._labelled[label].discard(name)
            if not self._labelled[label]:
                del self._labelled[label]
        if labels is None:
            del self._namespaces[name]
            return True
        self._namespaces[name] = labels
        for label in labels.items():
            self._labelled[label].add(name)
        return True

    def finds(self, selector: Selector, namespace: str) -> bool:
        """Whether a selector finds a namespace; one whose labels are not known yet is never found."""
        labels = self._namespaces.get(namespace)
        return labels is not None and selector.matches(labels)

    def matching(self, selector: Selector) -> frozenset[str]:
        """Namespaces that a selector finds."""
        label = _label(selector)
        names: Iterable[str] = self._namespaces if label is None else self._labelled.get(label, ())
        return frozenset(name for name in names if selector.matches(self._namespaces[name]))


class View:
    """The members that one key finds, and what it shows of them.

    Attributes:
        namespaces: that it looks at; None is every one.
        followers: owners whose rows are another when its numbers are.
        watchers: owners whose rows are another when anything of it is.
    """

    def __init__(self, key: ViewKey, members: Members) -> None:
        self.key = key
        self.owner = key.owner
        self.pivot = _pivot(key)
        self.followers: set[Owner] = set()
        self.watchers: set[Owner] = set()
        self._shown: dict[str, tuple[Item, ...]] = {}
        self._items: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.namespaces = self._found(members)
        for member in self._candidates(members):
            self.put(member.port_id, member)

    def numbers(self) -> list[int]:
        """Of the named port, in order; 0 alone when the view is of no named port."""
        return sorted(self._items) if self.key.named else [0]

    def items(self, number: int = 0) -> frozenset[str]:
        """Logical ports, or addresses, of a number."""
        return frozenset(self._items[number]) if number in self._items else frozenset()

    def put(self, port_id: str, member: Member | None) -> tuple[bool, bool]:
        """Look at a member anew, None when it is gone; returns whether items changed, and whether numbers did."""
        now = () if member is None else self._show(member)
        before = self._shown.get(port_id, ())
        if now == before:
            return False, False
        gone = grown = False
        for number, item in now:
            grown |= number not in self._items
            self._items[number][item] += 1
        for number, item in before:
            gone |= self._take_out(number, item)
        if now:
            self._shown[port_id] = now
        else:
            del self._shown[port_id]
        return True, self.key.named is not None and (grown or gone)

    def refind(self, members: Members, namespace: str) -> tuple[bool, bool]:
        """Look at a namespace whose labels changed; returns as `put` does."""
        scope = self.key.scope
        if self.namespaces is None or not isinstance(scope, PodScope) or scope.namespace:
            return False, False
        found = members.finds(scope.namespaces, namespace)
        if found == (namespace in self.namespaces):
            return False, False
        self.namespaces = self.namespaces | {namespace} if found else self.namespaces - {namespace}
        seen = [self.put(member.port_id, member) for member in members.of(namespace)]
        return any(items for items, _ in seen), any(numbers for _, numbers in seen)

    def _take_out(self, number: int, item: str) -> bool:
        held = self._items[number]
        held[item] -= 1
        if not held[item]:
            del held[item]
        if not held:
            del self._items[number]
        return not held

    def _found(self, members: Members) -> frozenset[str] | None:
        scope = self.key.scope
        if isinstance(scope, BlockScope):
            return None
        if isinstance(scope, PodScope) and not scope.namespace:
            return members.matching(scope.namespaces)
        return frozenset({scope.namespace})

    def _candidates(self, members: Members) -> Iterable[Member]:
        if self.namespaces is None:
            yield from members.at(self.pivot)
            return
        for name in self.namespaces:
            yield from members.at(Pivot(name, self.pivot.label))

    def _show(self, member: Member) -> tuple[Item, ...]:
        scope, named = self.key.scope, self.key.named
        shown: Iterable[str] = (member.port_id,) if member.switched else ()
        if self.key.use is Use.PEERS:
            shown = member.addresses
        if isinstance(scope, BlockScope):
            shown = [address for address in shown if scope.networks.holds(address)] if member.primary else ()
        elif member.namespace not in (self.namespaces or ()) or not scope.takes(member):
            return ()
        numbers = named.numbers(member) if named else (0,)
        return tuple((number, item) for number in numbers for item in shown)


class Views:
    """All views, each once."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._views: dict[ViewKey, View] = {}
        self._by_owner: dict[Owner, View] = {}
        self._at: defaultdict[Pivot, dict[ViewKey, View]] = defaultdict(dict)

    def need(self, key: ViewKey) -> tuple[View, bool]:
        """The view of a key, and whether it is new."""
        view = self._views.get(key)
        if view is not None:
            return view, False
        view = self._views[key] = self._by_owner[key.owner] = View(key, self._members)
        self._at[view.pivot][key] = view
        return view, True

    def get(self, key: ViewKey) -> View:
        """A view that somebody needs."""
        return self._views[key]

    def of(self, owner: Owner) -> View | None:
        """The view whose rows an owner contributes."""
        return self._by_owner.get(owner)

    def owners(self) -> Iterable[Owner]:
        """Of all views."""
        return self._by_owner.keys()

    def release(self, key: ViewKey, user: Owner) -> bool:
        """Let go of a view; returns whether nobody needs it any more, and it went."""
        view = self._views[key]
        view.followers.discard(user)
        view.watchers.discard(user)
        if view.followers or view.watchers:
            return False
        del self._views[key], self._by_owner[view.owner]
        held = self._at[view.pivot]
        del held[key]
        if not held:
            del self._at[view.pivot]
        return True

    def moved(self, before: Member | None, after: Member | None) -> set[Owner]:
        """Owners whose rows changed when a member came, went or became another."""
        pivots = {*(_pivots(before) if before else ()), *(_pivots(after) if after else ())}
        spaces = {member.namespace for member in (before, after) if member}
        port_id = before.port_id if before else after.port_id if after else ""
        touched: set[Owner] = set()
        for pivot in pivots:
            for view in self._at[pivot].values() if pivot in self._at else ():
                if view.namespaces is None or not view.namespaces.isdisjoint(spaces):
                    _tell(view, view.put(port_id, after), touched)
        return touched

    def relabelled(self, namespace: str) -> set[Owner]:
        """Owners whose rows changed when a namespace got other labels, came or went."""
        touched: set[Owner] = set()
        for view in self._views.values():
            _tell(view, view.refind(self._members, namespace), touched)
        return touched


def _tell(view: View, changed: tuple[bool, bool], touched: set[Owner]) -> None:
    items, numbers = changed
    if items:
        touched.add(view.owner)
        touched.update(view.watchers)
    if numbers:
        touched.update(view.followers)


def _pivots(member: Member) -> Iterable[Pivot]:
    for namespace in (member.namespace, ""):
        yield Pivot(namespace, None)
        for label in member.labels.items():
            yield Pivot(namespace, label)


def _pivot(key: ViewKey) -> Pivot:
    scope = key.scope
    if isinstance(scope, BlockScope):
        return Pivot("", None)
    return Pivot(scope.namespace, _label(scope.pods) if isinstance(scope, PodScope) else None)


def _label(selector: Selector) -> tuple[str, str] | None:
    """The first label that all who are selected have with one value."""
    for requirement in selector.requirements:
        if requirement.operator is Operator.IN and len(requirement.values) == 1:
            return requirement.key, requirement.values[0]
    return None
