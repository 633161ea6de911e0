"""What of the switch's database is copied; names and types are in the schema since the first OVS with update2 (2.6)."""

from proto.ovsdb.values import Columns, Shape

DATABASE = "Open_vSwitch"

COLUMNS: Columns = {
    "Open_vSwitch": {
        "bridges": Shape.SET,
        "next_cfg": Shape.ONE,
        "cur_cfg": Shape.ONE,
        "other_config": Shape.MAP,
        "external_ids": Shape.MAP,
    },
    "Bridge": {"name": Shape.ONE, "ports": Shape.SET, "datapath_type": Shape.ONE, "fail_mode": Shape.ONE},
    "Port": {
        "name": Shape.ONE,
        "interfaces": Shape.SET,
        "tag": Shape.ONE,
        "qos": Shape.ONE,
        "external_ids": Shape.MAP,
    },
    "QoS": {"type": Shape.ONE, "other_config": Shape.MAP, "queues": Shape.MAP, "external_ids": Shape.MAP},
    "Queue": {"other_config": Shape.MAP, "external_ids": Shape.MAP},
    "Interface": {
        "name": Shape.ONE,
        "type": Shape.ONE,
        "ofport": Shape.ONE,
        "error": Shape.ONE,
        "ifindex": Shape.ONE,
        "external_ids": Shape.MAP,
    },
}
