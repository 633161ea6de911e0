"""All policies and groups with all that they look at: which rows must be made again when something changes.

Everything is told by ``set_...`` and ``drop_...``, each of which returns the owners whose rows or faults may be others
than before; ``rows`` gives the rows of one owner as they now are, none when it has gone. The rows of owners refer to
each other, so all that one change returns belongs into one transaction.
"""

from collections.abc import Iterable, Mapping

from coordinator.core.net.members import Member
from coordinator.core.net.policy.always import Always
from coordinator.core.net.policy.group_sets import GroupSets
from coordinator.core.net.policy.model import Owner, OwnerKind, Policy, Use, ViewKey
from coordinator.core.net.policy.parse import parse_policy
from coordinator.core.net.policy.rules import address_rows, group_row, policy_rows, views_needed
from coordinator.core.net.policy.views import NAME_LABEL, Members, View, Views
from coordinator.core.net.rows import Row
from coordinator.core.objects.net import SecurityGroup
from coordinator.core.pool.fields import Json
from proto.errors import DpuError

Touched = set[Owner]
VIEWS = frozenset({OwnerKind.PODS.value, OwnerKind.PEERS.value})


class PolicyIndex:
    """Compiles NetworkPolicies and SecurityGroups, again only as far as something changed."""

    def __init__(self) -> None:
        self._members = Members()
        self._views = Views(self._members)
        self._always = Always()
        self._groups = GroupSets(self._members, self._views)
        self._policies: dict[Owner, Policy] = {}
        self._needs: dict[Owner, set[ViewKey]] = {}
        self._faults: dict[Owner, list[DpuError]] = {}

    def set_policy(self, found: Json) -> Touched:
        """Take in a NetworkPolicy, new or changed."""
        policy, faults = parse_policy(found)
        before = self._faults.pop(policy.owner, [])
        if faults:
            self._faults[policy.owner] = faults
        news = {policy.owner} if list(map(str, before)) != list(map(str, faults)) else set()
        return self._install(policy.owner, policy) | news

    def drop_policy(self, key: str) -> Touched:
        """Forget the NetworkPolicy ``NAMESPACE/NAME``."""
        owner = (OwnerKind.POLICY.value, key)
        self._faults.pop(owner, None)
        return self._install(owner, None)

    def set_group(self, group: SecurityGroup) -> Touched:
        """Take in a SecurityGroup, new or changed."""
        return self._grouped(self._groups.put(group))

    def drop_group(self, key: str) -> Touched:
        """Forget the SecurityGroup ``NAMESPACE/NAME``."""
        namespace, _, name = key.partition("/")
        return self._grouped(self._groups.drop(namespace, name))

    def set_member(self, member: Member) -> Touched:
        """Take in a member, new or changed."""
        before = self._members.get(member.port_id)
        if before == member:
            return set()
        self._members.put(member)
        return self._moved(before, member)

    def drop_member(self, port_id: str) -> Touched:
        """Forget a member."""
        before = self._members.drop(port_id)
        return set() if before is None else self._moved(before, None)

    def set_namespace(self, name: str, labels: Mapping[str, str]) -> Touched:
        """Take in a namespace's labels; the one with its name is given to it if it lacks it."""
        changed = self._members.put_namespace(name, {NAME_LABEL: name, **labels})
        return self._views.relabelled(name) if changed else set()

    def drop_namespace(self, name: str) -> Touched:
        """Forget a namespace."""
        return self._views.relabelled(name) if self._members.put_namespace(name, None) else set()

    def set_node(self, node: str, addresses: Iterable[str]) -> Touched:
        """Take in the addresses that a node's own traffic has, none when it is gone."""
        touched = self._always.set_node(node, addresses)
        return touched if self._in_force() else set()

    def owners(self) -> Touched:
        """Everybody who contributes rows now."""
        nodes = self._always.owners() if self._in_force() else set()
        return set(self._policies) | set(self._views.owners()) | self._groups.owners() | nodes

    def rows(self, owner: Owner) -> list[Row]:
        """The rows of an owner."""
        kind, key = owner
        if kind in VIEWS:
            view = self._views.of(owner)
            return [] if view is None else _view_rows(view)
        if kind == OwnerKind.NODE.value:
            return self._always.rows(key) if self._in_force() else []
        if kind == OwnerKind.GROUP_SET.value:
            return self._groups.rows(owner)
        policy = self._policies.get(owner)
        return [] if policy is None else policy_rows(policy, self._numbers)

    def faults(self, owner: Owner) -> list[DpuError]:
        """What of a policy or a group could not be read, and therefore lets nothing through."""
        return [*self._faults.get(owner, ()), *self._groups.faults(owner)]

    def group_members(self, key: str) -> set[str]:
        """Ports of the members of the SecurityGroup ``NAMESPACE/NAME``."""
        return self._groups.members_of(key)

    def _in_force(self) -> bool:
        """Whether there is any policy or group: what passes always needs no rows before."""
        return bool(self._policies)

    def _moved(self, before: Member | None, after: Member | None) -> Touched:
        touched = self._views.moved(before, after)
        always = self._always.moved(before, after)
        touched |= self._grouped(self._groups.moved(before, after))
        return touched | always if self._in_force() else touched

    def _grouped(self, touched: Touched) -> Touched:
        """Install what changed groups say of machines, too."""
        for owner in [owner for owner in touched if owner[0] == OwnerKind.GROUP.value]:
            touched |= self._install(owner, self._groups.policy(owner))
        return touched

    def _install(self, owner: Owner, policy: Policy | None) -> Touched:
        if self._policies.get(owner) == policy:
            return set()
        was_in_force = self._in_force()
        if policy is None:
            del self._policies[owner]
        else:
            self._policies[owner] = policy
        touched = {owner} | self._need(owner, views_needed(policy) if policy else set())
        return touched if self._in_force() == was_in_force else touched | self._always.owners()

    def _need(self, owner: Owner, needed: set[ViewKey]) -> Touched:
        touched: Touched = set()
        for key in needed:
            view, new = self._views.need(key)
            view.followers.add(owner)
            if new:
                touched.add(view.owner)
        for key in self._needs.pop(owner, set()) - needed:
            if self._views.release(key, owner):
                touched.add(key.owner)
        if needed:
            self._needs[owner] = needed
        return touched

    def _numbers(self, key: ViewKey) -> list[int]:
        return self._views.get(key).numbers()


def _view_rows(view: View) -> list[Row]:
    rows: list[Row] = []
    for number in view.numbers():
        name, items = view.key.name(number), view.items(number)
        rows += [group_row(name, (), items)] if view.key.use is Use.PODS else address_rows(name, items)
    return rows
