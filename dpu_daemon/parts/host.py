"""A host's drivers, and the engine over them."""

from pathlib import Path
from typing import TYPE_CHECKING

from dpu_daemon.config_host import HostConfig
from dpu_daemon.drivers.cgroups import CgroupTree, KernelGroups
from dpu_daemon.drivers.cgroups.sampling import UsageSampler
from dpu_daemon.drivers.cri import CriNames
from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.host import HostDrivers, HostEngine
from dpu_daemon.engine.journal import Journal

if TYPE_CHECKING:
    from dpu_daemon.engine.node_network import CniDrivers
    from dpu_daemon.engine.vfs import VfSources


async def open_host(journal: Journal, times: AuditTimes, drivers: HostDrivers) -> HostEngine:
    """The engine of a host, its journal read."""
    return await HostEngine.open(journal, drivers.groups, drivers.sampler, times, drivers.vfs, drivers.cni)


def host_drivers(config: HostConfig) -> HostDrivers:
    """The real drivers of a host."""
    tree = CgroupTree(config.groups.mount, above=config.groups.above, enable=config.groups.enable)
    socket = config.runtime.socket
    runtime = CriNames(socket, timeout_s=config.runtime.timeout_s) if socket != Path() else None
    groups = KernelGroups(tree, runtime, kubelet_state=config.kubelet.cpu_manager_state)
    return HostDrivers(groups=groups, sampler=UsageSampler(tree), vfs=_vf_sources(config), cni=_cni(config))


def _vf_sources(config: HostConfig) -> "VfSources | None":
    """What tells of virtual functions; a host without any does not even load it."""
    if config.vfs is None:
        return None
    from dpu_daemon.parts.vfs import vf_sources  # noqa: PLC0415

    return vf_sources(config.vfs)


def _cni(config: HostConfig) -> "CniDrivers | None":
    """What pods' networks stand on; a host whose pods have another plug-in does not even load it."""
    if config.cni is None:
        return None
    from dpu_daemon.parts.cni import host_cni  # noqa: PLC0415

    return host_cni(config)
