"""vhost-user-blk controllers of a fake SPDK."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes.spdk.refusal import INTERNAL, RefusalError, bad_params

if TYPE_CHECKING:
    from tests.fakes.spdk.process import FakeSpdk

SPIN_S = 0.01


@dataclass
class VhostController:
    """A controller and the clients on its socket."""

    name: str
    bdev: str
    readonly: bool
    sessions: int = 0


class Vhost:
    """The vhost part of one process."""

    def __init__(self, process: "FakeSpdk", directory: Path) -> None:
        self._process = process
        self._directory = directory
        self.controllers: dict[str, VhostController] = {}

    def lose(self, bdev: str) -> None:
        """The controller stays, without its disk."""
        for controller in self.controllers.values():
            if controller.bdev == bdev:
                controller.bdev = ""

    def has_client(self, bdev: str) -> bool:
        return any(each.bdev == bdev and each.sessions for each in self.controllers.values())

    def vhost_create_blk_controller(
        self, ctrlr: str, dev_name: str, *, readonly: bool = False, **_options: Any
    ) -> bool:
        if ctrlr in self.controllers:
            raise bad_params("File exists")
        if dev_name not in self._process.bdevs.all:
            raise bad_params("No such device")
        if self._process.bdevs.all[dev_name].claimed_by:
            raise bad_params("Operation not permitted")
        self.controllers[ctrlr] = VhostController(ctrlr, dev_name, readonly)
        (self._directory / ctrlr[:100]).touch()
        return True

    async def vhost_delete_controller(self, ctrlr: str) -> bool:
        controller = self.controllers.get(ctrlr)
        if controller is None:
            raise bad_params("No such device")
        while controller.sessions:
            self._process.log_bytes += 100_000
            await asyncio.sleep(SPIN_S)
        await asyncio.sleep(0)
        self.controllers.pop(ctrlr, None)
        (self._directory / ctrlr[:100]).unlink(missing_ok=True)
        return True

    def vhost_get_controllers(self, name: str = "") -> list[dict[str, Any]]:
        if name and name not in self.controllers:
            raise RefusalError(INTERNAL, "No such device")
        return [self._told(each) for each in self.controllers.values() if not name or each.name == name]

    def _told(self, controller: VhostController) -> dict[str, Any]:
        block = {"readonly": controller.readonly, "bdev": controller.bdev or None, "transport": "vhost_user_blk"}
        return {
            "ctrlr": controller.name,
            "cpumask": "0x1",
            "socket": str(self._directory / controller.name),
            "sessions": [{"vid": n, "id": n, "name": f"{controller.name}s{n}"} for n in range(controller.sessions)],
            "backend_specific": {"block": block},
        }
