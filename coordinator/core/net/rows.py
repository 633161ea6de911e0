"""Rows of OVN's northbound database as they are wanted: values that producers make and one differ compares."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

Atom = str | int | bool | float


class Table(Enum):
    """Tables that we write, by their name in the schema."""

    SWITCH = "Logical_Switch"
    SWITCH_PORT = "Logical_Switch_Port"
    ROUTER = "Logical_Router"
    ROUTER_PORT = "Logical_Router_Port"
    ROUTE = "Logical_Router_Static_Route"
    NAT = "NAT"
    LOAD_BALANCER = "Load_Balancer"
    HEALTH_CHECK = "Load_Balancer_Health_Check"
    ACL = "ACL"
    PORT_GROUP = "Port_Group"
    ADDRESS_SET = "Address_Set"
    DHCP = "DHCP_Options"
    QOS = "QoS"
    GATEWAY_CHASSIS = "Gateway_Chassis"
    TEMPLATE_VARIABLES = "Chassis_Template_Var"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """A reference to a row, by the key that we gave it."""

    table: str
    key: str


def ref(table: Table, key: str) -> Ref:
    """A reference to a row of ours."""
    return Ref(table.value, key)


Value = Atom | Ref | frozenset[Atom] | frozenset[Ref] | Mapping[str, str] | Mapping[str, int]
"""A column: one value, a set (also of references), a map. A column that is not given is left as the schema has it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that shall be there.

    Attributes:
        table: where.
        key: ours, kept in ``external_ids:dpupool``; unique in its table and the same every time.
        columns: what it shall hold; its own external_ids besides the key may be among them.
    """

    table: Table
    key: str
    columns: Mapping[str, Value] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        """A reference to this row."""
        return ref(self.table, self.key)


Wanted = dict[Ref, Row]
"""The whole of what shall be ours in the database."""


def gather(rows: Iterable[Row]) -> Wanted:
    """All rows by reference; what several producers say of one row is joined: sets and maps by union.

    Raises:
        ValueError: two producers want different single values in one column.
    """
    wanted: Wanted = {}
    for row in rows:
        before = wanted.get(row.ref)
        wanted[row.ref] = row if before is None else Row(row.table, row.key, _joined(before, row))
    return wanted


def _joined(one: Row, other: Row) -> dict[str, Value]:
    columns = dict(one.columns)
    for name, value in other.columns.items():
        before = columns.get(name)
        if before is None or before == value:
            columns[name] = value
        elif isinstance(before, frozenset) and isinstance(value, frozenset):
            columns[name] = before | value  # type: ignore[operator]
        elif isinstance(before, Mapping) and isinstance(value, Mapping):
            columns[name] = {**before, **value}  # type: ignore[assignment]
        else:
            raise ValueError(f"{one.table.value} {one.key}: column {name} is wanted as {before!r} and as {value!r}")
    return columns


SWITCH_OF_SUBNET = "subnet.{name}"
ROUTER_OF_NETWORK = "network.{name}"


def switch_key(subnet: str) -> str:
    """Key, and name, of the logical switch of a subnet."""
    return SWITCH_OF_SUBNET.format(name=subnet)


def router_key(network: str) -> str:
    """Key, and name, of the logical router of a network."""
    return ROUTER_OF_NETWORK.format(name=network)
