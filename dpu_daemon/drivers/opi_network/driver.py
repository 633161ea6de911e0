"""OPI's network: a NetDriver over Open vSwitch and the kernel."""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from dpu_daemon.drivers.ethernet import interface_index
from dpu_daemon.drivers.opi_network.kernel import Domains
from dpu_daemon.drivers.opi_network.switch import OpiBridge
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.opi_network_seen import NetSeen, Plug
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")
Functions = Callable[[], Awaitable[Mapping[str, str]]]
"""Representors by the MAC address of the function that they stand for."""

_log = structlog.get_logger("dpu_daemon.opi")


class OvsNetwork:
    """A NetDriver.

    Args:
        socket: path of ovsdb-server's Unix socket.
        datapath: datapath type of the bridge, ``netdev`` or ``system``.
        domains: with which names of routing domains begin.
        functions: who knows the host's functions.
    """

    def __init__(self, *, socket: str, datapath: str, domains: str, functions: Functions) -> None:
        self._switch = OpiBridge(socket=socket, datapath=datapath)
        self._domains = Domains(prefix=domains, datapath=datapath)
        self._functions = functions
        self._kernel = ThreadPoolExecutor(max_workers=1, thread_name_prefix="opi network")
        """One thread: to remove a device is to wait some ten milliseconds for the kernel, and order matters."""
        self._complaint = ""

    async def start(self, lost: Lost) -> None:
        """Connect to the switch's database; the thread for the kernel stays in the namespace that this one is in."""
        await self._in_kernel(lambda: None)
        await self._switch.start(lost)

    async def stop(self) -> None:
        """Let go; bridge and domains stay."""
        await self._switch.stop()
        self._kernel.shutdown(wait=False)

    def version(self) -> str:
        return "ovsdb, rtnetlink"

    async def look(self) -> NetSeen:
        """Switch, devices, domains; without functions where the host's bus does not answer."""
        bridges, ports = self._switch.look()
        ends, domains = await self._in_kernel(self._domains.look)
        functions = await self._known()
        return NetSeen(bridges=bridges, ports=ports, ends=ends, domains=domains, functions=functions)

    async def _known(self) -> Mapping[str, str]:
        """Functions by their addresses; none while the host's bus does not answer, which is told once."""
        try:
            functions, complaint = await self._functions(), ""
        except DpuError as error:
            functions, complaint = {}, str(error)
        if complaint != self._complaint:
            self._complaint = complaint
            _log.info(f"functions are known by name alone: {complaint}" if complaint else "functions are known again")
        return functions

    async def make_bridge(self, bridge: str) -> None:
        await self._switch.make_bridge(bridge)

    async def plug(self, bridge: str, plug: Plug) -> None:
        number = 0 if plug.kind else await self._in_kernel(lambda: interface_index(plug.name))
        await self._switch.plug(bridge, plug, number)

    async def unplug(self, bridge: str, name: str) -> None:
        await self._switch.unplug(bridge, name)

    async def raise_link(self, name: str) -> None:
        await self._in_kernel(lambda: self._domains.raise_link(name))

    async def make_domain(self, name: str) -> None:
        await self._in_kernel(lambda: self._domains.make_domain(name))

    async def remove_domain(self, name: str) -> None:
        await self._in_kernel(lambda: self._domains.remove_domain(name))

    async def make_gateway(self, outside: str, inside: str, domain: str, mac: str) -> None:
        await self._in_kernel(lambda: self._domains.make_gateway(outside, inside, domain, mac))

    async def remove_gateway(self, outside: str, inside: str, domain: str) -> None:
        await self._in_kernel(lambda: self._domains.remove_gateway(outside, inside, domain))

    async def set_addresses(self, domain: str, name: str, addresses: Collection[str]) -> None:
        await self._in_kernel(lambda: self._domains.set_addresses(domain, name, addresses))

    async def _in_kernel(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._kernel, work)
        except OSError as error:
            raise _refused(error) from error


def _refused(error: OSError) -> DpuError:
    message = f"the kernel refused: {error.strerror or error}"
    if error.errno in {errno.EPERM, errno.EACCES, errno.EROFS}:
        return DpuError(Reason.FORBIDDEN, message, remedy="give the daemon the rights that docs/opi.md names")
    return DpuError(Reason.UNAVAILABLE, message, remedy="look at the device that it names, and at the kernel's log")
