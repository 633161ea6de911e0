"""What a host lacks for giving virtual functions to containers."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from dpu_daemon.config_net import VfKind, VfsSection
from dpu_daemon.engine.vf_protocols import VfDriver
from dpu_daemon.findings import Finding
from dpu_daemon.model.vf import VfSeen
from dpu_daemon.parts.vfs import vf_sources
from proto.errors import DpuError


def examine_vfs(section: VfsSection) -> Iterator[Finding]:
    """Look at the functions, and at what kubelet has; changes nothing, sets no function up."""
    yield _functions(section)
    if not section.resource:
        return
    yield _directory("vfs.kubelet_dir", section.kubelet_dir, "start kubelet, or correct the path")
    if section.pod_resources == Path():
        says = "kubelet's records are not asked: what it gave counts as given for ten minutes"
        yield Finding("vfs.pod_resources", passed=True, says=says)
    else:
        remedy = "start kubelet, or correct the path"
        there = section.pod_resources.is_socket()
        says = f"{section.pod_resources} is {'' if there else 'not '}there"
        yield Finding("vfs.pod_resources", passed=there, says=says, remedy="" if there else remedy)


def _functions(section: VfsSection) -> Finding:
    emulated = section.driver is VfKind.NETDEVS
    driver = vf_sources(section if emulated else msgspec.structs.replace(section, count=0)).driver
    try:
        seen = asyncio.run(_look(driver))
    except DpuError as error:
        return Finding("vfs", passed=False, says=error.message, remedy=error.remedy)
    faults = [function.fault for function in seen.values() if function.fault]
    away = sum(not (function.netdev or function.fault or function.is_userspace) for function in seen.values())
    says = f"{len(seen)} functions" + (f", {away} in containers or missing" if away else "")
    says += f", {len(faults)} at fault; first: {faults[0]}" if faults else ""
    lacking = not seen and not section.count
    remedy = "set functions up, or give vfs.count" if lacking else "see the fault" if faults else ""
    return Finding("vfs", passed=not faults and not lacking, says=says, remedy=remedy)


async def _look(driver: VfDriver) -> Mapping[int, VfSeen]:
    return await driver.look()


def _directory(key: str, path: Path, remedy: str) -> Finding:
    may = path.is_dir() and os.access(path, os.W_OK)
    says = f"{path} can{'' if may else 'not'} be written"
    return Finding(key, passed=may, says=says, remedy="" if may else remedy)
