"""One chassis put together: started in the order in which its parts need each other, ended in reverse."""

import os
from collections.abc import Mapping
from typing import Any

import structlog

from lab.chassis.bus import Bus
from lab.chassis.config import ChassisConfig
from lab.chassis.console import ConsoleHub
from lab.chassis.host import Host
from lab.chassis.pcie import Link
from lab.chassis.process import serial_path
from lab.chassis.record import Record
from lab.chassis.redfish.service import Bmc

log = structlog.get_logger()


class Chassis:
    """A whole server.

    Attributes:
        url: of the BMC, once started.
    """

    def __init__(self, config: ChassisConfig) -> None:
        config.run_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config = config
        self.url = ""
        self.record = Record(config.run_path / "state.json")
        self.host = Host(config, self.record)
        self._link = Link(config.pcie_path, config.qemu, self.host)
        self.bus = Bus(config, self.record, self.host, self._link.tell)
        self.hub = ConsoleHub(serial_path(config), config.run_path / "console.log", config.console)
        self._bmc = Bmc(config, self.record, self.host, self.bus, self.hub)
        self.host.listeners.append(self._follow_power)

    def _follow_power(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "POWER":
            self.hub.power(is_on=data["state"] == "on")

    async def start(self) -> None:
        """Find the host as it was left, then serve."""
        await self.host.start()
        await self._link.serve(self.bus)
        self.url = await self._bmc.serve()
        log.info(
            "chassis serves",
            host=self._config.host.name,
            bmc=self.url,
            pcie=str(self._config.pcie_path),
            pid=os.getpid(),
        )

    async def stop(self) -> None:
        """Stop serving; the host goes on, unless the settings say otherwise."""
        await self.hub.close()
        await self._bmc.close()
        await self._link.close()
        await self.bus.close()
        if self._config.stop_host_on_exit:
            await self.host.force_off()
        await self.host.leave()
        log.info("chassis stopped", host=self._config.host.name)
