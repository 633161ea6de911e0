"""NVMe subsystems of a fake SPDK, over TCP between fakes and over vfio-user towards a host."""

import asyncio
import re
import socket
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes.spdk.refusal import INTERNAL, PARAMS, RefusalError, bad_params

if TYPE_CHECKING:
    from tests.fakes.spdk.process import FakeSpdk

SERIAL, MODEL, NQN = 20, 40, 223
DISCOVERY = "nqn.2014-08.org.nvmexpress.discovery"


@dataclass
class Space:
    """A namespace."""

    nsid: int
    bdev: str
    nguid: str
    uuid: str


@dataclass
class Subsystem:
    """A subsystem."""

    nqn: str
    serial: str
    model: str
    most: int
    any_host: bool
    hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    listeners: list[dict[str, str]] = field(default_factory=list)
    spaces: dict[int, Space] = field(default_factory=dict)
    clients: int = 0
    deleting: bool = False


class Nvmf:
    """The target of one process."""

    def __init__(self, process: "FakeSpdk") -> None:
        self._process = process
        self.transports: set[str] = set()
        self.subsystems: dict[str, Subsystem] = {}

    # ---- asked by the rest of the fake ---------------------------------------------------------------------------

    def lose(self, bdev: str) -> None:
        for subsystem in self.subsystems.values():
            subsystem.spaces = {nsid: space for nsid, space in subsystem.spaces.items() if space.bdev != bdev}

    def resized(self, bdev: str) -> None:
        """Initiators hear of it within milliseconds."""
        for subsystem in self.subsystems.values():
            if any(space.bdev == bdev for space in subsystem.spaces.values()):
                self._process.tell_initiators(subsystem.nqn)

    def shows(self, bdev: str) -> bool:
        return any(space.bdev == bdev for each in self.subsystems.values() for space in each.spaces.values())

    def has(self, nqn: str) -> bool:
        return nqn in self.subsystems

    def spaces(self, nqn: str) -> dict[int, tuple[int, int, str]]:
        found = self.subsystems.get(nqn)
        if found is None:
            return {}
        bdevs = {space.nsid: (self._process.bdevs.all[space.bdev], space.uuid) for space in found.spaces.values()}
        return {nsid: (bdev.block_size, bdev.num_blocks, unique) for nsid, (bdev, unique) in bdevs.items()}

    def admits(self, nqn: str, traddr: str, trsvcid: str, hostnqn: str, secrets: dict[str, str]) -> bool:
        found = self.subsystems.get(nqn)
        if found is None or not any((at["traddr"], at["trsvcid"]) == (traddr, trsvcid) for at in found.listeners):
            return False
        if hostnqn in found.hosts:
            asked = {part: self._process.secret(key) for part, key in found.hosts[hostnqn].items()}
            return asked == secrets
        return found.any_host

    # ---- methods -------------------------------------------------------------------------------------------------

    def nvmf_create_transport(self, trtype: str, **_options: Any) -> bool:
        if trtype not in {"TCP", "VFIOUSER", "RDMA"}:
            raise bad_params("Invalid transport type")
        if trtype == "RDMA":
            raise RefusalError(INTERNAL, "Transport create failed")
        if trtype in self.transports:
            raise RefusalError(INTERNAL, f"Transport type '{trtype}' already exists")
        self.transports.add(trtype)
        return True

    def nvmf_get_transports(self, trtype: str = "") -> list[dict[str, Any]]:
        return [{"trtype": each} for each in sorted(self.transports) if not trtype or each == trtype]

    async def nvmf_create_subsystem(
        self,
        nqn: str,
        serial_number: str = "00000000000000000000",
        model_number: str = "SPDK bdev Controller",
        max_namespaces: int = 0,
        *,
        allow_any_host: bool = False,
        **_options: Any,
    ) -> bool:
        if len(serial_number) > SERIAL or len(model_number) > MODEL:
            raise bad_params()
        bad = not re.match(r"nqn\.\d{4}-\d{2}\..+:.+", nqn) or len(nqn.encode()) > NQN or nqn == DISCOVERY
        if bad or nqn in self.subsystems or len(self.subsystems) + 1 >= self._process.most_subsystems:
            raise RefusalError(INTERNAL, f"Unable to create subsystem {nqn}")
        self.subsystems[nqn] = Subsystem(nqn, serial_number, model_number, max_namespaces or 32, allow_any_host)
        await asyncio.sleep(0)
        return True

    async def nvmf_delete_subsystem(self, nqn: str) -> bool:
        subsystem = self._subsystem(nqn)
        if subsystem.deleting:
            raise RefusalError(INTERNAL, "Subsystem is being deleted")
        subsystem.deleting = True
        for listener in list(subsystem.listeners):
            self._unlisten(subsystem, listener)
        await asyncio.sleep(0)
        self.subsystems.pop(nqn, None)
        for space in subsystem.spaces.values():
            if space.bdev in self._process.bdevs.all:
                self._process.bdevs.all[space.bdev].claimed_by = ""
        self._process.tell_initiators(nqn)
        return True

    def _subsystem(self, nqn: str) -> Subsystem:
        if nqn not in self.subsystems:
            raise bad_params(f"Subsystem with NQN '{nqn}' not found")
        return self.subsystems[nqn]

    def nvmf_get_subsystems(self, nqn: str = "") -> list[dict[str, Any]]:
        if nqn and nqn not in self.subsystems:
            raise RefusalError(-19 if self._process.release <= (26, 5) else PARAMS, "No such device")
        return [_told(each) for each in self.subsystems.values() if not nqn or each.nqn == nqn] + (
            [] if nqn else [{"nqn": DISCOVERY, "subtype": "Discovery", "listen_addresses": [], "hosts": []}]
        )

    def nvmf_subsystem_get_controllers(self, nqn: str) -> list[dict[str, Any]]:
        return [{"cntlid": number} for number in range(self._subsystem(nqn).clients)]

    async def nvmf_subsystem_add_ns(self, nqn: str, namespace: dict[str, Any]) -> int:
        subsystem = self._subsystem(nqn)
        bdev = self._process.bdevs.all.get(namespace["bdev_name"])
        nsid = namespace.get("nsid") or next(n for n in range(1, 1 << 16) if n not in subsystem.spaces)
        if bdev is None or bdev.claimed_by or nsid in subsystem.spaces or nsid > subsystem.most:
            raise bad_params()
        unique = namespace.get("uuid") or bdev.uuid
        nguid = namespace.get("nguid") or uuid.UUID(bdev.uuid).hex
        bdev.claimed_by = nqn
        subsystem.spaces[nsid] = Space(nsid, bdev.name, nguid.upper(), unique)
        self._process.tell_initiators(nqn)
        await asyncio.sleep(0)
        return int(nsid)

    async def nvmf_subsystem_remove_ns(self, nqn: str, nsid: int) -> bool:
        space = self._subsystem(nqn).spaces.pop(nsid, None)
        if space is None:
            raise bad_params()
        if space.bdev in self._process.bdevs.all:
            self._process.bdevs.all[space.bdev].claimed_by = ""
        self._process.tell_initiators(nqn)
        await asyncio.sleep(0)
        return True

    async def nvmf_subsystem_add_listener(self, nqn: str, listen_address: dict[str, str], **_options: Any) -> bool:
        subsystem = self._subsystem(nqn)
        at = {"trtype": listen_address["trtype"], "traddr": listen_address["traddr"], "trsvcid": ""}
        at["trsvcid"] = listen_address.get("trsvcid", "")
        if at["trtype"] not in self.transports or not isinstance(at["trsvcid"], str) or at in subsystem.listeners:
            raise bad_params()
        if at["trtype"] == "VFIOUSER":
            self._bind(Path(at["traddr"]))
        else:
            other = self._process.fabric.listeners.get((at["traddr"], at["trsvcid"]))
            if other is not None and other is not self._process and other.running:
                raise bad_params()
            self._process.fabric.listeners[at["traddr"], at["trsvcid"]] = self._process
        subsystem.listeners.append(at)
        await asyncio.sleep(0)
        return True

    async def nvmf_subsystem_remove_listener(self, nqn: str, listen_address: dict[str, str]) -> bool:
        subsystem = self._subsystem(nqn)
        at = {key: listen_address.get(key, "") for key in ("trtype", "traddr", "trsvcid")}
        if at not in subsystem.listeners:
            raise bad_params()
        self._unlisten(subsystem, at)
        await asyncio.sleep(0)
        return True

    def _bind(self, folder: Path) -> None:
        """A killed process leaves the file, and the next one refuses to listen there."""
        if not folder.is_dir() or (folder / "cntrl").exists():
            raise bad_params()
        endpoint = socket.socket(socket.AF_UNIX)
        endpoint.bind(str(folder / "cntrl"))
        endpoint.close()

    def _unlisten(self, subsystem: Subsystem, at: dict[str, str]) -> None:
        subsystem.listeners.remove(at)
        if at["trtype"] == "VFIOUSER":
            (Path(at["traddr"]) / "cntrl").unlink(missing_ok=True)

    def nvmf_subsystem_add_host(self, nqn: str, host: str, **keys: str) -> bool:
        subsystem = self._subsystem(nqn)
        if host in subsystem.hosts or not host.startswith("nqn."):
            raise RefusalError(INTERNAL, "Internal error")
        if any(key not in self._process.keyring for key in keys.values()):
            raise RefusalError(INTERNAL, "Unable to find key")
        subsystem.hosts[host] = keys
        return True

    def nvmf_subsystem_remove_host(self, nqn: str, host: str, **_options: Any) -> bool:
        if self._subsystem(nqn).hosts.pop(host, None) is None:
            raise RefusalError(INTERNAL, "Internal error")
        return True

    def nvmf_subsystem_allow_any_host(self, nqn: str, *, allow_any_host: bool) -> bool:
        self._subsystem(nqn).any_host = allow_any_host
        return True


def _told(subsystem: Subsystem) -> dict[str, Any]:
    return {
        "nqn": subsystem.nqn,
        "subtype": "NVMe",
        "listen_addresses": [{**at, "adrfam": "IPv4"} for at in subsystem.listeners],
        "allow_any_host": subsystem.any_host,
        "hosts": [{"nqn": host} for host in subsystem.hosts],
        "serial_number": subsystem.serial,
        "model_number": subsystem.model,
        "max_namespaces": subsystem.most,
        "namespaces": [
            {"nsid": space.nsid, "bdev_name": space.bdev, "name": space.bdev, "nguid": space.nguid, "uuid": space.uuid}
            for space in subsystem.spaces.values()
        ],
    }
