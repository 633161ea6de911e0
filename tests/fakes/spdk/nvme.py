"""The NVMe-oF initiator of a fake SPDK."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.spdk.bdevs import Bdev
from tests.fakes.spdk.refusal import INTERNAL, RefusalError, by_errno

if TYPE_CHECKING:
    from tests.fakes.spdk.process import FakeSpdk

KEYS = ("psk", "dhchap_key", "dhchap_ctrlr_key")
EINVAL, ENODEV, EEXIST, EIO, EALREADY = 22, 19, 17, 5, 114


@dataclass
class Path:
    """One connection."""

    trid: dict[str, str]
    hostnqn: str
    state: str = "enabled"


@dataclass
class Controller:
    """A remote controller under its local name."""

    name: str
    subnqn: str
    hostnqn: str
    paths: list[Path] = field(default_factory=list)
    bdevs: list[str] = field(default_factory=list)
    loss_timeout: int = 0


class Initiator:
    """Remote controllers of one process."""

    def __init__(self, process: "FakeSpdk") -> None:
        self._process = process
        self.controllers: dict[str, Controller] = {}
        self.connect_timeout_s = 134.0
        self.connecting = 0

    def bdev_nvme_set_options(self, **options: Any) -> bool:
        if "tcp_connect_timeout_ms" in options:
            if self._process.release < (25, 5):
                raise RefusalError(INTERNAL, "spdk_json_decode_object failed")
            if self.controllers:
                raise RefusalError(-1, "RPC not permitted with nvme controllers already attached")
            self.connect_timeout_s = options["tcp_connect_timeout_ms"] / 1000
        return True

    async def bdev_nvme_attach_controller(
        self,
        name: str,
        trtype: str,
        traddr: str,
        subnqn: str = "",
        trsvcid: str = "",
        hostnqn: str = "nqn.2014-08.org.nvmexpress:uuid:random",
        **options: Any,
    ) -> list[str]:
        if not isinstance(trsvcid, str) or trtype not in {"TCP", "RDMA"}:
            raise RefusalError(INTERNAL, "spdk_json_decode_object failed")
        _check_patience(options)
        known = self.controllers.get(name)
        trid = {"trtype": trtype, "adrfam": "IPv4", "traddr": traddr, "trsvcid": trsvcid, "subnqn": subnqn}
        if known is not None and any(path.trid == trid for path in known.paths):
            raise RefusalError(-EALREADY, "Operation already in progress")
        if any(c.subnqn == subnqn and c.hostnqn == hostnqn and c.name != name for c in self.controllers.values()):
            raise by_errno(EEXIST)
        keys: dict[str, str] = {
            key: options[key] for key in ("psk", "dhchap_key", "dhchap_ctrlr_key") if key in options
        }
        if any(key not in self._process.keyring for key in keys.values()):
            raise RefusalError(-126, "Required key not available")
        await self._connect(traddr, trsvcid, subnqn, hostnqn, keys)
        controller = self.controllers.setdefault(name, Controller(name, subnqn, hostnqn))
        controller.loss_timeout = options.get("ctrlr_loss_timeout_sec", 0)
        controller.paths.append(Path(trid, hostnqn))
        if known is None:
            self.refresh(controller)
        return list(controller.bdevs)

    async def _connect(self, traddr: str, trsvcid: str, subnqn: str, hostnqn: str, keys: dict[str, str]) -> None:
        self.connecting += 1
        try:
            await asyncio.sleep(self._process.attach_s)
            if traddr in self._process.fabric.silent:
                await asyncio.sleep(self.connect_timeout_s)
                raise RefusalError(-EIO, "Input/output error")
        finally:
            self.connecting -= 1
        target = self._process.fabric.listeners.get((traddr, trsvcid))
        secrets = {part: self._process.secret(key) for part, key in keys.items()}
        if target is None or not target.running or not target.nvmf.admits(subnqn, traddr, trsvcid, hostnqn, secrets):
            raise RefusalError(-EIO, "Input/output error")

    def refresh(self, controller: Controller) -> None:
        """Namespaces come, go and grow with the target's; a UUID that is here already makes no bdev."""
        target = self._target(controller)
        spaces = target.nvmf.spaces(controller.subnqn) if target is not None else {}
        wanted = {f"{controller.name}n{nsid}": (nsid, *space) for nsid, space in spaces.items()}
        for name in [name for name in controller.bdevs if name not in wanted]:
            controller.bdevs.remove(name)
            self._process.bdevs.drop(name)
        for name, (nsid, block_size, num_blocks, unique) in wanted.items():
            known = self._process.bdevs.all.get(name)
            if known is not None:
                if known.num_blocks != num_blocks:
                    self._process.bdevs.resize(name, num_blocks)
            elif unique not in self._process.bdevs.uuids:
                detail = {"trid": controller.paths[0].trid, "ns_data": {"id": nsid}}
                self._process.bdevs.add(Bdev(name, "nvme", block_size, num_blocks, unique, detail=detail))
                controller.bdevs.append(name)

    def _target(self, controller: Controller) -> "FakeSpdk | None":
        for path in controller.paths:
            found = self._process.fabric.listeners.get((path.trid["traddr"], path.trid["trsvcid"]))
            if found is not None and found.running:
                return found
        return None

    def notice(self, nqn: str = "") -> None:
        """States follow the targets'; what SPDK does by itself when one dies or returns."""
        for controller in [each for each in self.controllers.values() if not nqn or each.subnqn == nqn]:
            for path in controller.paths:
                target = self._process.fabric.listeners.get((path.trid["traddr"], path.trid["trsvcid"]))
                there = target is not None and target.running and target.nvmf.has(controller.subnqn)
                path.state = "enabled" if there else "reconnect_is_delayed"
            if self._target(controller) is not None and any(path.state == "enabled" for path in controller.paths):
                self.refresh(controller)
            elif controller.loss_timeout > 0:
                self._remove(controller)

    def _remove(self, controller: Controller) -> None:
        self.controllers.pop(controller.name, None)
        for name in controller.bdevs:
            self._process.bdevs.drop(name)

    def bdev_nvme_get_controllers(self, name: str = "") -> list[dict[str, Any]]:
        if name and name not in self.controllers:
            sign = 1 if self._process.release <= (26, 1) else -1
            raise RefusalError(sign * EINVAL, f"Controller {name} does not exist")
        self.notice(self.controllers[name].subnqn if name else "")
        return [_told(each) for each in self.controllers.values() if not name or each.name == name]

    async def bdev_nvme_detach_controller(self, name: str, **path: str) -> bool:
        controller = self.controllers.get(name)
        if controller is None:
            raise by_errno(ENODEV)
        await asyncio.sleep(0)
        chosen = [each for each in controller.paths if all(each.trid.get(k) == v for k, v in path.items())]
        if len(chosen) < len(controller.paths):
            controller.paths = [each for each in controller.paths if each not in chosen]
            return True
        self._remove(controller)
        return True

    async def bdev_nvme_reset_controller(self, name: str) -> bool:
        if name not in self.controllers:
            raise by_errno(ENODEV)
        await asyncio.sleep(0)
        return True


def _check_patience(options: dict[str, Any]) -> None:
    loss, delay = options.get("ctrlr_loss_timeout_sec", 0), options.get("reconnect_delay_sec", 0)
    if bool(delay) != bool(loss) or (loss > 0 and loss < delay):
        raise by_errno(EINVAL)


def _told(controller: Controller) -> dict[str, Any]:
    paths = [
        {"state": path.state, "trid": path.trid, "cntlid": number, "host": {"nqn": path.hostnqn}}
        for number, path in enumerate(controller.paths, start=1)
    ]
    return {"name": controller.name, "ctrlrs": paths}
