"""Netdevs of the namespace that this process stands in, over rtnetlink."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Mapping
from typing import Any

import structlog
from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.port import LinkSeen
from proto.errors import DpuError
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

CALL_TIMEOUT_S = 5.0
"""The kernel answers in a millisecond; a link that is moving between namespaces may take some ten."""

IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
RTMGRP_LINK = 0x1
GONE = "RTM_DELLINK"


class NetlinkLinks:
    """A LinkDriver.

    Args:
        quiet: beginning of the names of netdevs that come and go with containers; they are no news. Empty for none.
    """

    def __init__(self, quiet: str = "") -> None:
        self._quiet = quiet
        self._watch: asyncio.Task[None] | None = None

    async def start(self, lost: Lost) -> None:
        """Begins to listen for netdevs that vanish: a representor goes with its NIC's owner."""
        if self._watch is not None:
            raise DpuError(Reason.WRONG_STATE, "the netlink driver is started already")
        self._watch = asyncio.create_task(_watch(lost, self._quiet), name="watch links")

    async def stop(self) -> None:
        task, self._watch = self._watch, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def version(self) -> str:
        return "rtnetlink"

    async def look(self) -> Mapping[str, LinkSeen]:
        async with _rtnetlink() as netlink:
            return {link.name: link async for link in _links(netlink)}

    async def set_link(self, name: str, *, up: bool, mtu: int = 0) -> None:
        """Sets the administrative state and, unless 0, the MTU.

        Raises:
            DpuError: NOT_FOUND (worth repeating: a representor comes with its NIC), INVALID for an MTU.
        """
        async with _rtnetlink() as netlink:
            numbers = list(await netlink.link_lookup(ifname=name))
            if not numbers:
                message = f"there is no netdev {name}"
                remedy = "a representor comes with its NIC: look whether that is plugged"
                raise DpuError(Reason.NOT_FOUND, message, field="netdev", remedy=remedy, retry=True)
            wanted: dict[str, Any] = {"index": numbers[0], "state": "up" if up else "down"}
            if mtu:
                wanted["mtu"] = mtu
            await netlink.link("set", **wanted)


@contextlib.asynccontextmanager
async def _rtnetlink() -> AsyncIterator[Any]:
    """One socket for one question: opening costs half a millisecond, and no answer is ever taken for another."""
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S), AsyncIPRoute() as netlink:
            yield netlink
    except NetlinkError as error:
        raise _refusal(error) from error
    except TimeoutError as error:
        message = f"the kernel did not answer within {CALL_TIMEOUT_S:g} s"
        raise DpuError(Reason.UNAVAILABLE, message, remedy="repeat the call") from error


async def _links(netlink: Any) -> AsyncIterator[LinkSeen]:
    async for message in await netlink.link("dump"):
        flags = message["flags"]
        yield LinkSeen(
            name=message.get("ifname"),
            mac=message.get("address") or "",
            mtu=message.get("mtu"),
            up=bool(flags & IFF_UP),
            carrier=bool(flags & IFF_LOWER_UP),
        )


async def _watch(lost: Lost, quiet: str) -> None:
    async with AsyncIPRoute() as netlink:
        await netlink.bind(groups=RTMGRP_LINK)
        while True:
            async for message in netlink.get():
                name = str(message.get("ifname"))
                if message.get("event") == GONE and not (quiet and name.startswith(quiet)):
                    lost(f"netdev {name} went away")


def _refusal(error: NetlinkError) -> DpuError:
    reason = {
        errno.ENODEV: Reason.NOT_FOUND,
        errno.EINVAL: Reason.INVALID,
        errno.ERANGE: Reason.INVALID,
        errno.EPERM: Reason.FORBIDDEN,
    }.get(error.code, Reason.UNAVAILABLE)
    return DpuError(reason, f"the kernel refused: {error}", remedy="look at the netdev, and at this process's rights")
