"""Open vSwitch on an OVN chassis: what no ovn-controller can be asked about its database is known, too."""

from collections.abc import Collection
from pathlib import Path

from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.drivers.southbound import Southbound
from dpu_daemon.engine.pod_protocols import SwitchTrouble
from dpu_daemon.engine.protocols import Lost


class OvnSwitch(OvsdbSwitch):
    """A switch that ovn-controller rules.

    Args:
        southbound: tells whether that database answers; None where it cannot be asked.
        socket: as the rest, see `OvsdbSwitch`.
    """

    def __init__(
        self,
        southbound: Southbound | None,
        *,
        socket: str,
        datapath: str,
        secure: Collection[str],
        ovn_run_dir: Path | None = None,
    ) -> None:
        super().__init__(socket=socket, datapath=datapath, secure=secure, ovn=True, ovn_run_dir=ovn_run_dir)
        self._southbound = southbound

    async def start(self, lost: Lost) -> None:
        if self._southbound is not None:
            self._southbound.start(lost)
        await super().start(lost)

    async def stop(self) -> None:
        if self._southbound is not None:
            await self._southbound.stop()
        await super().stop()

    async def trouble(self) -> SwitchTrouble:
        """Also whether the southbound database answers; what forwards goes on without it."""
        found = await super().trouble()
        if found.message or self._southbound is None:
            return found
        return SwitchTrouble(self._southbound.trouble())
