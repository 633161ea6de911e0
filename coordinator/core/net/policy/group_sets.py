"""Which groups there are and which pods are in the same ones, kept up to date."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from coordinator.core.net.groups import Group, absent, peer_views, read_group, scope_of, set_rows
from coordinator.core.net.members import Member, MemberKind
from coordinator.core.net.policy.model import (
    GroupScope,
    Owner,
    OwnerKind,
    Policy,
    Scope,
    Use,
    ViewKey,
    digest,
)
from coordinator.core.net.policy.views import Members, Views
from coordinator.core.net.rows import Row
from coordinator.core.objects.net import SecurityGroup
from coordinator.core.pool.selectors import NOTHING
from proto.errors import DpuError
from proto.reasons import Reason

SetKey = tuple[str, frozenset[str]]
"""A namespace and names of its groups."""


class GroupSets:
    """Groups of all namespaces, and the distinct sets of them that pods are in."""

    def __init__(self, members: Members, views: Views) -> None:
        self._members, self._views = members, views
        self._objects: defaultdict[str, dict[str, SecurityGroup]] = defaultdict(dict)
        self._groups: defaultdict[str, dict[str, Group]] = defaultdict(dict)
        self._naming: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._faults: dict[Owner, list[DpuError]] = {}
        self._set_of: dict[str, SetKey] = {}
        self._ports: defaultdict[SetKey, set[str]] = defaultdict(set)
        self._keys: dict[Owner, SetKey] = {}
        self._needs: dict[Owner, set[ViewKey]] = {}

    def put(self, group: SecurityGroup) -> set[Owner]:
        """Take in a group; returns owners whose rows changed."""
        listed = self._objects[group.metadata.namespace]
        before = listed.get(group.metadata.name)
        if before is not None and before.spec == group.spec:
            return set()
        listed[group.metadata.name] = group
        return self._resolve(group.metadata.namespace)

    def drop(self, namespace: str, name: str) -> set[Owner]:
        """Forget a group; returns owners whose rows changed."""
        if self._objects[namespace].pop(name, None) is None:
            return set()
        return self._resolve(namespace)

    def moved(self, before: Member | None, after: Member | None) -> set[Owner]:
        """Owners whose rows changed when a member came, went or became another; members are told of it already."""
        names = _names(before), _names(after)
        for change, (namespace, named) in zip((-1, 1), names, strict=True):
            for name in named:
                self._naming[namespace][name] += change
                if not self._naming[namespace][name]:
                    del self._naming[namespace][name]
        touched: set[Owner] = set()
        if names[0] != names[1]:
            for namespace in {namespace for namespace, named in names if named}:
                if self._lacking(namespace):
                    touched |= self._resolve(namespace)
        port_id = before.port_id if before else after.port_id if after else ""
        return touched | self._place(port_id, self._set(after))

    def policy(self, owner: Owner) -> Policy | None:
        """What a group says of machines; None when there is none."""
        namespace, _, name = owner[1].partition("/")
        group = self._groups[namespace].get(name)
        return None if group is None else group.policy()

    def members_of(self, key: str) -> set[str]:
        """Ports of the members of the group ``NAMESPACE/NAME``."""
        namespace, _, name = key.partition("/")
        group = self._groups[namespace].get(name)
        return {one.port_id for one in self._members.of(namespace) if group and group.scope.takes(one)}

    def faults(self, owner: Owner) -> list[DpuError]:
        """What of a group could not be read."""
        return self._faults.get(owner, [])

    def owners(self) -> set[Owner]:
        """Of all sets."""
        return set(self._keys)

    def rows(self, owner: Owner) -> list[Row]:
        """Rows of a set."""
        key = self._keys.get(owner)
        if key is None:
            return []
        return set_rows(f"groups.{owner[1]}", self._groups_of(key), self._ports[key], self._addresses)

    def _lacking(self, namespace: str) -> bool:
        """Whether a group is named that we do not have an answer for, or one is kept that nobody names."""
        return self._naming[namespace].keys() | self._objects[namespace].keys() != self._groups[namespace].keys()

    def _resolve(self, namespace: str) -> set[Owner]:
        """Read all groups of a namespace again: each may speak of every other."""
        objects = self._objects[namespace]
        before = self._groups[namespace]
        now = {name: absent(namespace, name) for name in sorted(self._naming[namespace].keys() - objects.keys())}
        faulty = {name: self._faults.pop((OwnerKind.GROUP.value, f"{namespace}/{name}"), []) for name in before}
        for name in now:
            self._faults[OwnerKind.GROUP.value, f"{namespace}/{name}"] = [_missing(name)]
        scopes = {name: scope_of(group, NOTHING)[0] for name, group in objects.items()}
        for name, group in objects.items():
            now[name], faults = read_group(group, lambda other: _scope(namespace, other, scopes))
            self._faults[OwnerKind.GROUP.value, f"{namespace}/{name}"] = faults
        self._groups[namespace] = now
        changed = {name for name in {*before, *now} if before.get(name) != now.get(name)}
        touched = {(OwnerKind.GROUP.value, f"{namespace}/{name}") for name in changed}
        for name, faults in faulty.items():
            owner = (OwnerKind.GROUP.value, f"{namespace}/{name}")
            touched |= {owner} if list(map(str, faults)) != list(map(str, self.faults(owner))) else set()
        for key in [key for key in self._ports if key[0] == namespace and key[1] & changed]:
            touched |= self._watch(key)
        for member in self._members.of(namespace):
            touched |= self._place(member.port_id, self._set(member, changed))
        return touched

    def _place(self, port_id: str, now: SetKey | None) -> set[Owner]:
        before = self._set_of.get(port_id)
        if before == now:
            return set()
        touched: set[Owner] = set()
        if before is not None:
            del self._set_of[port_id]
            self._ports[before].discard(port_id)
            touched |= self._watch(before)
        if now is not None:
            self._set_of[port_id] = now
            self._ports[now].add(port_id)
            touched |= self._watch(now)
        return touched

    def _set(self, member: Member | None, changed: Collection[str] | None = None) -> SetKey | None:
        """The set that a member is in.

        Args:
            changed: groups that are not as they were when the member was last looked at; None for all.
        """
        if member is None or member.kind is not MemberKind.POD or not member.switched:
            return None
        groups = self._groups[member.namespace]
        before = self._set_of.get(member.port_id)
        kept = before[1].difference(changed) if before is not None and changed is not None else frozenset[str]()
        looked = (name for name in (groups if changed is None else changed) if name in groups)
        names = kept.union(name for name in looked if groups[name].scope.takes(member))
        return (member.namespace, names) if names else None

    def _watch(self, key: SetKey) -> set[Owner]:
        """Keep the views of a set as it now is; returns owners whose rows changed."""
        owner = (OwnerKind.GROUP_SET.value, digest((key[0], tuple(sorted(key[1])))))
        needed: set[ViewKey] = set()
        if self._ports[key]:
            self._keys[owner] = key
            needed = peer_views(self._groups_of(key))
        else:
            del self._ports[key]
            self._keys.pop(owner, None)
        touched = {owner}
        for view_key in needed:
            view, new = self._views.need(view_key)
            view.watchers.add(owner)
            touched |= {view.owner} if new else set()
        for view_key in self._needs.pop(owner, set()) - needed:
            view_owner = view_key.owner
            touched |= {view_owner} if self._views.release(view_key, owner) else set()
        if needed:
            self._needs[owner] = needed
        return touched

    def _groups_of(self, key: SetKey) -> list[Group]:
        groups = self._groups[key[0]]
        return [groups[name] for name in sorted(key[1]) if name in groups]

    def _addresses(self, scope: Scope) -> Iterable[str]:
        return self._views.get(ViewKey(Use.PEERS, scope)).items()


def _names(member: Member | None) -> tuple[str, frozenset[str]]:
    return (member.namespace, member.groups) if member else ("", frozenset())


def _missing(name: str) -> DpuError:
    message = f"ports name the group {name}, which is not there: nothing passes them"
    return DpuError(Reason.NOT_FOUND, message, remedy="make the group, or take its name off the ports")


def _scope(namespace: str, name: str, scopes: dict[str, GroupScope]) -> GroupScope:
    return scopes.get(name) or GroupScope(namespace, name, NOTHING, NOTHING)
