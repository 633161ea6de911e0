"""The processes of pods' networks: OVN's centre, and each node's switch, ovn-controller, underlay and daemon."""

import sys
from pathlib import Path

from lab import topology
from lab.pods.programs import UNDERLAY_BRIDGE, node_name, southbound_socket
from lab.programs import Parts, northbound_socket
from lab.supervisor.unit import ReadyWhen, Unit
from lab.topology import UNDERLAY

FOLDERS = ("OVS_RUNDIR", "OVS_SYSCONFDIR", "OVS_DBDIR", "OVN_RUNDIR", "OVN_DBDIR")


def centre(parts: Parts) -> list[Unit]:
    """OVN's databases and what translates between them."""
    return [
        _database(parts, "nb", northbound_socket(parts.layout)),
        _database(parts, "sb", southbound_socket(parts.layout)),
        _northd(parts),
    ]


def node(parts: Parts, number: int) -> list[Unit]:
    """A node without our daemon."""
    name = node_name(number)
    netns, run = f"{parts.settings.name}-node{number}", parts.layout.run_of(name)
    environment = _environment(parts, run)
    address = topology.address_in(UNDERLAY, topology.POD_NODE_HOST + number)
    database, socket, control = parts.layout.state_of(name) / "conf.db", run / "db.sock", run / "ovs-vswitchd.ctl"
    server = ("ovsdb-server", str(database), f"--remote=punix:{socket}", *_marks(run, "ovsdb-server"))
    daemon = ("ovs-vswitchd", f"unix:{socket}", *_marks(run, "ovs-vswitchd"))
    pidfile = run / "ovn-controller.pid"
    controller = ("ovn-controller", f"unix:{socket}", f"--pidfile={pidfile}", "-vsyslog:off")
    underlay = (sys.executable, "-m", "lab.pods.underlay", UNDERLAY_BRIDGE, str(address))
    return [
        _watched(f"ovsdb-{name}", server, netns, environment, socket),
        _watched(f"vswitchd-{name}", daemon, netns, environment, control, (f"ovsdb-{name}",)),
        Unit(f"underlay-{name}", underlay, netns=netns, after=(f"vswitchd-{name}",), ready=ReadyWhen.NOTIFIED),
        _watched(f"ovn-controller-{name}", controller, netns, environment, pidfile, (f"vswitchd-{name}", "ovn-sb")),
    ]


def _database(parts: Parts, name: str, socket: Path) -> Unit:
    run, state = parts.layout.run_of("ovn"), parts.layout.state_of("ovn")
    argv = ("ovsdb-server", str(state / f"{name}.db"), f"--remote=punix:{socket}", *_marks(run, name))
    return _watched(f"ovn-{name}", argv, f"{parts.settings.name}-mgmt", _environment(parts, run), socket)


def _northd(parts: Parts) -> Unit:
    run = parts.layout.run_of("ovn")
    databases = (
        f"--ovnnb-db=unix:{northbound_socket(parts.layout)}",
        f"--ovnsb-db=unix:{southbound_socket(parts.layout)}",
    )
    argv = ("ovn-northd", *databases, *_marks(run, "northd"))
    netns, environment = f"{parts.settings.name}-mgmt", _environment(parts, run)
    return _watched("ovn-northd", argv, netns, environment, run / "northd.ctl", ("ovn-nb", "ovn-sb"))


def _marks(run: Path, name: str) -> tuple[str, ...]:
    return (f"--unixctl={run / name}.ctl", f"--pidfile={run / name}.pid", "-vsyslog:off")


def _environment(parts: Parts, run: Path) -> dict[str, str]:
    logs = {"OVS_LOGDIR": str(parts.layout.logs), "OVN_LOGDIR": str(parts.layout.logs)}
    return dict.fromkeys(FOLDERS, str(run)) | logs


def _watched(
    name: str, argv: tuple[str, ...], netns: str, environment: dict[str, str], path: Path, after: tuple[str, ...] = ()
) -> Unit:
    """A process that is ready when its socket or pidfile is there."""
    stale = (str(path), str(path.with_suffix(".ctl")))
    return Unit(
        name,
        argv,
        netns=netns,
        environment=environment,
        after=after,
        ready=ReadyWhen.PATH,
        ready_path=str(path),
        stale=stale,
    )
