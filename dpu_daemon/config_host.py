"""Settings of a daemon in mode host: the CPUs and the sizes of a machine's pods."""

from pathlib import Path, PurePosixPath

from dpu_daemon.config_net import CniSection, OffloadSection, OvnSection, PeerSection, VfsSection
from dpu_daemon.config_offload import check_offload
from dpu_daemon.config_peer import check_peer
from dpu_daemon.config_pods import check_pods
from dpu_daemon.config_switch import SwitchSection
from dpu_daemon.config_vfs import check_vfs
from dpu_daemon.sections import MetricsSection, Mode, Section, TimesSection, TlsSection
from proto.errors import DpuError
from proto.reasons import Reason


class GroupsSection(Section, frozen=True):
    """The kernel's control groups.

    Attributes:
        mount: where they are mounted; version 1 has a directory for each controller there.
        above: directory below the mount that holds kubelet's root group (its ``--cgroup-root``); empty for the mount.
        enable: turn controllers on for pods (version 2, ``cgroup.subtree_control``) where they are off.
    """

    mount: Path = Path("/sys/fs/cgroup")
    above: str = ""
    enable: bool = True


class RuntimeSection(Section, frozen=True):
    """The container runtime, asked for the names of containers.

    Attributes:
        socket: of its CRI; empty for none: bindings then hold by container id alone.
        timeout_s: how long it may take to list its containers; one that takes longer counts as away.
    """

    socket: Path = Path()
    timeout_s: float = 2.0


class KubeletSection(Section, frozen=True):
    """kubelet, which must not write cpusets beside this daemon.

    Attributes:
        cpu_manager_state: file in which it keeps its CPU policy.
    """

    cpu_manager_state: Path = Path("/var/lib/kubelet/cpu_manager_state")


class HostConfig(Section, frozen=True):
    """Settings of a daemon in mode host.

    Attributes:
        name: of the node, as the coordinator knows it.
        mode: ``host``.
        journal: the daemon's only memory; keep it on a disk that survives.
        listen: ``address:port`` on the management network, or ``unix:PATH``.
        tls: needed unless `listen` is a Unix socket.
        cni: pods get their network from this daemon; with `switch` in CNI mode default, with `dpu` in mode host.
    """

    name: str
    mode: Mode
    journal: Path
    listen: str
    cni: CniSection | None = None
    switch: SwitchSection | None = None
    dpu: PeerSection | None = None
    ovn: OvnSection | None = None
    offload: OffloadSection = OffloadSection()
    vfs: VfsSection | None = None
    groups: GroupsSection = GroupsSection()
    runtime: RuntimeSection = RuntimeSection()
    kubelet: KubeletSection = KubeletSection()
    metrics: MetricsSection = MetricsSection()
    times: TimesSection = TimesSection()
    tls: TlsSection | None = None


def check_host(path: Path, config: HostConfig) -> None:
    """Refuse what cannot be meant.

    Raises:
        DpuError: INVALID naming file and key.
    """
    above = PurePosixPath(config.groups.above)
    if above.is_absolute() or ".." in above.parts:
        raise _wrong(path, "groups.above", f"{config.groups.above!r} is no directory below the mount")
    if not config.groups.mount.is_absolute():
        raise _wrong(path, "groups.mount", f"{config.groups.mount} is not absolute")
    if config.runtime.socket != Path() and not config.runtime.socket.is_absolute():
        raise _wrong(path, "runtime.socket", f"{config.runtime.socket} is not absolute")
    check_pods(path, config.cni, config.ovn)
    if config.cni is not None and (config.switch is None) == (config.dpu is None):
        raise _wrong(path, "cni", "needs either [switch] (this node has its own) or [dpu] (its DPU has it)")
    if config.cni is not None and config.dpu is not None:
        check_peer(path, config.dpu, has_functions=config.vfs is not None)
    check_offload(path, config.offload, has_switch=config.cni is not None and config.switch is not None)
    if config.vfs is not None:
        check_vfs(path, config.vfs)
    if not 0 < config.runtime.timeout_s <= 60:
        raise _wrong(path, "runtime.timeout_s", f"{config.runtime.timeout_s:g} is not between 0 and 60 seconds")


def _wrong(path: Path, key: str, what: str) -> DpuError:
    return DpuError(Reason.INVALID, f"{path}: {what}", field=key, remedy=f"correct {key}")
