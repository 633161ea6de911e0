"""The columns of OVN's northbound database that we write, with what tells a differ how to write them.

Source: ovn-nb.ovsschema of OVN 23.03; only tables of `LATER` are newer than 22.03.
"""

from dataclasses import dataclass
from typing import Any

from coordinator.core.net.rows import Table
from proto.ovsdb.values import Columns, Shape, empty

DATABASE = "OVN_Northbound"
EXTERNAL_IDS = "external_ids"
KEY = "dpupool"
"""The member of external_ids that says that a row is ours, and which."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that we write.

    Attributes:
        shape: what it holds.
        default: that a new row has, and that a row of ours gets back when no producer gives the column.
        target: table that it refers to; empty when it holds no references.
        strong: the rows that it refers to live only as long as something refers to them.
    """

    shape: Shape
    default: Any
    target: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table that we write; rows of one that is no root vanish with the last strong reference to them.

    Attributes:
        named: whether its name must be unique.
        label: the column that has the name.
        emptied: a column that must be seen empty before a row of ours may go; empty for none.
    """

    columns: dict[str, Column]
    root: bool = False
    named: bool = False
    label: str = "name"
    emptied: str = ""


TEXT = Column(Shape.ONE, "")
NUMBER = Column(Shape.ONE, 0)
FLAG = Column(Shape.ONE, False)  # noqa: FBT003  (a default)
MAYBE = Column(Shape.ONE, None)
SET = Column(Shape.SET, frozenset())
MAP = Column(Shape.MAP, {})


def _children(table: Table) -> Column:
    return Column(Shape.SET, frozenset(), table.value, strong=True)


def _some(table: Table) -> Column:
    return Column(Shape.SET, frozenset(), table.value)


def _one(table: Table) -> Column:
    return Column(Shape.ONE, None, table.value)


SHAPES: dict[str, TableShape] = {
    Table.SWITCH.value: TableShape(
        {
            "name": TEXT,
            "ports": _children(Table.SWITCH_PORT),
            "acls": _children(Table.ACL),
            "qos_rules": _children(Table.QOS),
            "load_balancer": _some(Table.LOAD_BALANCER),
            "other_config": MAP,
            EXTERNAL_IDS: MAP,
        },
        root=True,
    ),
    Table.SWITCH_PORT.value: TableShape(
        {
            "name": TEXT,
            "type": TEXT,
            "options": MAP,
            "tag_request": MAYBE,
            "tag": MAYBE,
            "parent_name": MAYBE,
            "addresses": SET,
            "port_security": SET,
            "enabled": MAYBE,
            "dhcpv4_options": _one(Table.DHCP),
            "dhcpv6_options": _one(Table.DHCP),
            EXTERNAL_IDS: MAP,
        },
        named=True,
    ),
    Table.ROUTER.value: TableShape(
        {
            "name": TEXT,
            "ports": _children(Table.ROUTER_PORT),
            "static_routes": _children(Table.ROUTE),
            "nat": _children(Table.NAT),
            "load_balancer": _some(Table.LOAD_BALANCER),
            "enabled": MAYBE,
            "options": MAP,
            EXTERNAL_IDS: MAP,
        },
        root=True,
    ),
    Table.ROUTER_PORT.value: TableShape(
        {
            "name": TEXT,
            "mac": TEXT,
            "networks": SET,
            "gateway_chassis": _children(Table.GATEWAY_CHASSIS),
            "options": MAP,
            "enabled": MAYBE,
            "ipv6_ra_configs": MAP,
            EXTERNAL_IDS: MAP,
        },
        named=True,
    ),
    Table.ROUTE.value: TableShape(
        {
            "ip_prefix": TEXT,
            "nexthop": TEXT,
            "policy": MAYBE,
            "output_port": MAYBE,
            "options": MAP,
            EXTERNAL_IDS: MAP,
        }
    ),
    Table.NAT.value: TableShape(
        {
            "type": TEXT,
            "external_ip": TEXT,
            "external_mac": MAYBE,
            "logical_ip": TEXT,
            "logical_port": MAYBE,
            "gateway_port": _one(Table.ROUTER_PORT),
            "options": MAP,
            EXTERNAL_IDS: MAP,
        }
    ),
    Table.LOAD_BALANCER.value: TableShape(
        {
            "name": TEXT,
            "vips": MAP,
            "protocol": MAYBE,
            "health_check": _children(Table.HEALTH_CHECK),
            "ip_port_mappings": MAP,
            "selection_fields": SET,
            "options": MAP,
            EXTERNAL_IDS: MAP,
        },
        root=True,
    ),
    Table.HEALTH_CHECK.value: TableShape({"vip": TEXT, "options": MAP, EXTERNAL_IDS: MAP}),
    Table.ACL.value: TableShape(
        {
            "name": MAYBE,
            "priority": NUMBER,
            "direction": TEXT,
            "match": TEXT,
            "action": TEXT,
            "log": FLAG,
            "severity": MAYBE,
            "meter": MAYBE,
            "label": NUMBER,
            "options": MAP,
            EXTERNAL_IDS: MAP,
        }
    ),
    Table.PORT_GROUP.value: TableShape(
        {"name": TEXT, "ports": _some(Table.SWITCH_PORT), "acls": _children(Table.ACL), EXTERNAL_IDS: MAP},
        root=True,
        named=True,
    ),
    Table.ADDRESS_SET.value: TableShape({"name": TEXT, "addresses": SET, EXTERNAL_IDS: MAP}, root=True, named=True),
    Table.DHCP.value: TableShape({"cidr": TEXT, "options": MAP, EXTERNAL_IDS: MAP}, root=True),
    Table.QOS.value: TableShape(
        {
            "priority": NUMBER,
            "direction": TEXT,
            "match": TEXT,
            "action": MAP,
            "bandwidth": MAP,
            EXTERNAL_IDS: MAP,
        }
    ),
    Table.GATEWAY_CHASSIS.value: TableShape(
        {"name": TEXT, "chassis_name": TEXT, "priority": NUMBER, "options": MAP, EXTERNAL_IDS: MAP}, named=True
    ),
    # See `local.chassis_row`.
    Table.TEMPLATE_VARIABLES.value: TableShape(
        {"chassis": TEXT, "variables": MAP, EXTERNAL_IDS: MAP},
        root=True,
        named=True,
        label="chassis",
        emptied="variables",
    ),
}

LATER = frozenset({Table.TEMPLATE_VARIABLES.value})
"""Tables that older schemas do not have: this one came with OVN 22.12."""

COPIED: Columns = {
    table: {name: column.shape for name, column in shape.columns.items()} for table, shape in SHAPES.items()
}
"""What of the database we have copied."""

STRONG: dict[str, tuple[str, ...]] = {
    table: tuple(name for name, column in shape.columns.items() if column.strong) for table, shape in SHAPES.items()
}
"""Columns that keep rows of other tables alive, by table."""


def unwritten(value: Any, column: Column) -> bool:
    """Whether a value is what a column has that nobody wrote; a copy says the schema's defaults as None."""
    return bool(value == column.default) or value is None or value == empty(column.shape)
