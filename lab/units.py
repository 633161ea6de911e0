"""The processes of a lab, as units of its supervisor."""

import sys
from pathlib import Path

from lab import programs
from lab.pods import units as pods
from lab.pods.programs import node_name
from lab.programs import Parts
from lab.settings import Extent, HostLink
from lab.supervisor.unit import Listener, ReadyWhen, SupervisorSettings, Unit

DAEMON_WATCHDOG_S = 30.0
DAEMON_READY_S = 60.0
BIN = Path(sys.executable).parent


def supervisor_settings(parts: Parts) -> SupervisorSettings:
    """All units of the lab."""
    numbers = range(1, parts.settings.hosts + 1)
    units = [storage_daemon(parts, "qsd-storage", f"{parts.settings.name}-st", parts.layout.run_of("storage"))]
    for number in numbers:
        units += infrastructure_of(parts, number)
        units += host_of(parts, number) if parts.settings.link is HostLink.FUSE else []
    nodes = range(1, parts.settings.pod_nodes + 1)
    units += pods.centre(parts) if nodes else []
    for number in nodes:
        units += pods.node(parts, number)
    if parts.settings.extent is Extent.ALL:
        units += [storage_node(parts), *(dpu(parts, number) for number in numbers), coordinator(parts)]
        units += [pod_node(parts, number) for number in nodes]
    return SupervisorSettings(str(parts.layout.run), str(parts.layout.logs), tuple(units))


def infrastructure_of(parts: Parts, number: int) -> list[Unit]:
    """What a DPU and its host are made of, without anything of ours that controls it."""
    netns, run = f"{parts.settings.name}-dpu{number}", parts.layout.run_of(f"dpu-{number}")
    return [
        storage_daemon(parts, f"qsd-dpu-{number}", netns, run),
        switch_database(parts, number),
        switch(parts, number),
        chassis(parts, number),
    ]


def host_of(parts: Parts, number: int) -> list[Unit]:
    """A host that is this machine: what shows it its disks, and its CSI node plug-in."""
    run = parts.layout.run_of(f"host-{number}")
    shown = storage_daemon(parts, f"qsd-host-{number}", f"{parts.settings.name}-dpu{number}", run)
    if parts.settings.extent is not Extent.ALL:
        return [shown]
    config = parts.layout.config_of(f"csi-node-{number}")
    unit = Unit(
        f"csi-node-{number}",
        (str(BIN / "dpu-csi"), "--config", str(config)),
        environment={"PYTHONUNBUFFERED": "1"},
        ready=ReadyWhen.NOTIFIED,
        ready_timeout_s=DAEMON_READY_S,
    )
    return [shown, unit]


def storage_daemon(parts: Parts, name: str, netns: str, run: Path) -> Unit:
    """A qemu-storage-daemon with nothing but a QMP socket; the daemon of ours configures it."""
    qmp = str(run / "qsd.qmp")
    character = f"socket,path={qmp},server=on,wait=off,id=monitor"
    return Unit(
        name,
        (str(parts.qemu.storage_daemon), "--chardev", character, "--monitor", "chardev=monitor"),
        netns=netns,
        environment=parts.qemu.environment,
        ready=ReadyWhen.PATH,
        ready_path=qmp,
        stale=(qmp, str(run / "dpu.nbd")),
    )


def _switch_environment(parts: Parts, number: int) -> dict[str, str]:
    run, state = parts.layout.run_of(f"dpu-{number}"), parts.layout.state_of(f"dpu-{number}")
    folders = {"OVS_RUNDIR": run, "OVS_LOGDIR": parts.layout.logs, "OVS_DBDIR": state, "OVS_SYSCONFDIR": state}
    return {key: str(folder) for key, folder in folders.items()}


def switch_database(parts: Parts, number: int) -> Unit:
    """The DPU's ovsdb-server."""
    run, state = parts.layout.run_of(f"dpu-{number}"), parts.layout.state_of(f"dpu-{number}")
    database, control, socket = state / "conf.db", run / "ovsdb-server.ctl", run / "db.sock"
    return Unit(
        f"ovsdb-dpu-{number}",
        (
            "ovsdb-server",
            str(database),
            f"--remote=punix:{socket}",
            f"--unixctl={control}",
            f"--pidfile={run / 'ovsdb-server.pid'}",
            "-vsyslog:off",
        ),
        netns=f"{parts.settings.name}-dpu{number}",
        environment=_switch_environment(parts, number),
        ready=ReadyWhen.PATH,
        ready_path=str(socket),
        stale=(str(socket), str(control)),
    )


def switch(parts: Parts, number: int) -> Unit:
    """The DPU's ovs-vswitchd, userspace datapath. The daemon makes the bridge and plugs the uplink."""
    run = parts.layout.run_of(f"dpu-{number}")
    control = run / "ovs-vswitchd.ctl"
    return Unit(
        f"vswitchd-dpu-{number}",
        (
            "ovs-vswitchd",
            f"unix:{run / 'db.sock'}",
            f"--unixctl={control}",
            f"--pidfile={run / 'ovs-vswitchd.pid'}",
            "-vsyslog:off",
        ),
        netns=f"{parts.settings.name}-dpu{number}",
        environment=_switch_environment(parts, number),
        after=(f"ovsdb-dpu-{number}",),
        ready=ReadyWhen.PATH,
        ready_path=str(control),
        stale=(str(control),),
    )


def chassis(parts: Parts, number: int) -> Unit:
    """A bare-metal host: mainboard, BMC, PCIe link. The host itself keeps running when this process restarts."""
    config = parts.layout.config_of(f"chassis-{number}")
    return _ours(
        f"chassis-{number}",
        (sys.executable, "-m", "lab.chassis", "--config", str(config)),
        f"{parts.settings.name}-bmc{number}",
        (),
    )


def storage_node(parts: Parts) -> Unit:
    """The daemon of ours on the storage node."""
    config = parts.layout.config_of("storage")
    argv = (str(BIN / "dpu-daemon"), "--config", str(config))
    return _ours("daemon-storage", argv, f"{parts.settings.name}-st", ("qsd-storage",))


def dpu(parts: Parts, number: int) -> Unit:
    """The daemon of ours on a DPU."""
    config = parts.layout.config_of(f"dpu-{number}")
    argv = (str(BIN / "dpu-daemon"), "--config", str(config))
    after = tuple(f"{kind}-{number}" for kind in ("qsd-dpu", "vswitchd-dpu", "chassis"))
    return _ours(f"daemon-dpu-{number}", argv, f"{parts.settings.name}-dpu{number}", after)


def pod_node(parts: Parts, number: int) -> Unit:
    """The daemon of ours on a node whose pods get their network from OVN."""
    name = node_name(number)
    argv = (str(BIN / "dpu-daemon"), "--config", str(parts.layout.config_of(name)))
    after = (f"vswitchd-{name}", f"ovn-controller-{name}")
    return _ours(f"daemon-{name}", argv, f"{parts.settings.name}-node{number}", after)


def coordinator(parts: Parts) -> Unit:
    """The coordinator; its API socket is the only thing of the lab in the machine's own namespace."""
    argv = (str(BIN / "dpu-coordinator"), "--config", str(parts.layout.config_of("coordinator")))
    listener = Listener("api", "127.0.0.1", parts.settings.api_port)
    return _ours("coordinator", argv, f"{parts.settings.name}-mgmt", (), (listener,))


def _ours(
    name: str, argv: tuple[str, ...], netns: str, after: tuple[str, ...], listeners: tuple[Listener, ...] = ()
) -> Unit:
    return Unit(
        name,
        argv,
        netns=netns,
        after=after,
        environment={"PYTHONUNBUFFERED": "1"},
        ready=ReadyWhen.NOTIFIED,
        ready_timeout_s=DAEMON_READY_S,
        watchdog_s=DAEMON_WATCHDOG_S,
        listeners=listeners,
    )


def folders(parts: Parts) -> list[Path]:
    """Folders that must be there before the first unit starts."""
    numbers = range(1, parts.settings.hosts + 1)
    nodes = [node_name(number) for number in range(1, parts.settings.pod_nodes + 1)]
    names_of = [
        "storage",
        "coordinator",
        *nodes,
        *(["ovn"] if nodes else []),
        *(f"{kind}-{n}" for n in numbers for kind in ("dpu", "host")),
    ]
    made = [folder for name in names_of for folder in (parts.layout.run_of(name), parts.layout.state_of(name))]
    made += [parts.layout.logs, programs.images(parts.layout), parts.layout.state_of("storage") / "volumes"]
    return [*made, *(parts.layout.state_of(f"dpu-{n}") / "seeds" for n in numbers)]
