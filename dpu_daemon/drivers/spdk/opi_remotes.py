"""Remote controllers that OPI clients make, path by path."""

import ipaddress
from typing import Any

from dpu_daemon.drivers.credentials import KeyPart
from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.listing import ControllerSeen
from dpu_daemon.drivers.spdk.names import keyring_name
from dpu_daemon.drivers.spdk.opi_errors import attempt, refused
from dpu_daemon.drivers.spdk.remote import ATTACH_TIMEOUT_S, FABRICS_TIMEOUT_S, RECONNECT_DELAY_S, KeyFiles
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.model.opi import RemoteController, RemotePath, Transport
from proto.errors import DpuError
from proto.reasons import Reason

TRTYPES = {Transport.TCP: "TCP", Transport.RDMA: "RDMA", Transport.PCIE: "PCIe"}


class OpiRemotes:
    """Remote controllers of one SPDK process that OPI clients made.

    Args:
        rpc: the process.
        keys: secrets.
    """

    def __init__(self, rpc: SpdkRpc, keys: KeyFiles) -> None:
        self._rpc = rpc
        self._keys = keys

    async def connect(self, handle: str, controller: RemoteController, path: RemotePath) -> None:
        """Connect a path; one that is there stays.

        Raises:
            DpuError: UNAVAILABLE for a target that does not answer or does not let this DPU in; WRONG_STATE for one
                without a namespace that this DPU does not have already.
        """
        params = {"name": handle, "multipath": controller.multipath.value, **address_of(path)}
        params |= _options(controller, path)
        if controller.psk:
            params["psk"] = await self.add_key(controller.psk)
        try:
            bdevs = await self._rpc.call(
                "bdev_nvme_attach_controller", params, of=list[str], timeout_s=ATTACH_TIMEOUT_S
            )
        except SpdkError as error:
            if await self._has(handle, path):
                return
            message = f"cannot connect to {path.subnqn or path.traddr} (SPDK: {error.said}, code {error.code})"
            remedy = f"see that the target is up and lets {path.hostnqn or 'this DPU'} in, with the same key"
            raise DpuError(Reason.UNAVAILABLE, message, field="nvme_path.traddr", remedy=remedy) from error
        if not bdevs:
            await self.disconnect(handle, path)
            message = f"{path.subnqn or path.traddr} shows no namespace, or one that this DPU already has"
            raise DpuError(Reason.WRONG_STATE, message, field="nvme_path", remedy="look at the target", retry=True)

    async def disconnect(self, handle: str, path: RemotePath) -> None:
        """Disconnect one path; with the last one the controller goes. Gone is fine."""
        call = self._rpc.call("bdev_nvme_detach_controller", {"name": handle, **address_of(path)})

        async def gone() -> bool:
            return not await self._has(handle, path)

        await attempt(call, gone, field="name", remedy="repeat the call")

    async def reset(self, handle: str) -> None:
        """Reset a controller.

        Raises:
            DpuError: WRONG_STATE while it has no path.
        """
        if not any(controller.name == handle for controller in await self._listed()):
            message = "the controller has no path, so there is nothing to reset"
            raise DpuError(Reason.WRONG_STATE, message, field="name", remedy="create a path first")
        try:
            await self._rpc.call("bdev_nvme_reset_controller", {"name": handle})
        except SpdkError as error:
            raise refused(error, field="name", remedy="look at the target") from error

    async def add_key(self, credentials: str) -> str:
        """Put a pre-shared key into the keyring; returns its name there.

        Raises:
            DpuError: WRONG_STATE when the set has no such key.
        """
        file = self._keys.key_file(credentials, KeyPart.TLS_PSK)
        if file is None:
            message = f"credentials {credentials} have no pre-shared key"
            raise DpuError(Reason.WRONG_STATE, message, field="psk", remedy="create the object anew, with the key")
        name = keyring_name(credentials, KeyPart.TLS_PSK.value)
        call = self._rpc.call("keyring_file_add_key", {"name": name, "path": str(file)})

        async def there() -> bool:
            keys = await self._rpc.call("keyring_get_keys", of=list[dict[str, object]])
            return any(key.get("name") == name for key in keys)

        await attempt(call, there, field="psk", remedy="look at the rights of the credentials' directory")
        return name

    async def _listed(self) -> list[ControllerSeen]:
        return await self._rpc.call("bdev_nvme_get_controllers", of=list[ControllerSeen])

    async def _has(self, handle: str, path: RemotePath) -> bool:
        service = str(path.trsvcid) if path.trsvcid else ""
        return any(
            (way.trid.traddr, way.trid.trsvcid) == (path.traddr, service)
            for controller in await self._listed()
            if controller.name == handle
            for way in controller.ctrlrs
        )


def address_of(path: RemotePath) -> dict[str, Any]:
    """Where a path leads."""
    if path.trtype is Transport.PCIE:
        return {"trtype": TRTYPES[path.trtype], "traddr": path.traddr}
    return {
        "trtype": TRTYPES[path.trtype],
        "adrfam": f"IPv{ipaddress.ip_address(path.traddr).version}",
        "traddr": path.traddr,
        "trsvcid": str(path.trsvcid),
        "subnqn": path.subnqn,
    }


def _options(controller: RemoteController, path: RemotePath) -> dict[str, Any]:
    if path.trtype is Transport.PCIE:
        return {}
    options: dict[str, Any] = {
        "hostnqn": path.hostnqn,
        # Requests wait for a target that went away: the host must not see an error for a reboot.
        "ctrlr_loss_timeout_sec": -1,
        "reconnect_delay_sec": RECONNECT_DELAY_S,
        "fast_io_fail_timeout_sec": 0,
        "fabrics_connect_timeout_us": int(FABRICS_TIMEOUT_S * 1_000_000),
    }
    given = {
        "hdgst": controller.hdgst,
        "ddgst": controller.ddgst,
        "num_io_queues": controller.io_queues_count,
        "hostaddr": path.source_traddr,
        "hostsvcid": str(path.source_trsvcid) if path.source_trsvcid else "",
    }
    return options | {name: value for name, value in given.items() if value}
