"""How the publish context of a foreign CSI driver becomes an address that a DPU can connect to."""

from collections.abc import Mapping

from coordinator.clients.backends.settings import Address
from coordinator.clients.backends.words import split_address
from coordinator.clients.storage import TargetAddress, TargetPath
from proto.errors import DpuError
from proto.reasons import Reason

PORTS = {"nvme+tcp": 4420, "nvme+rdma": 4420, "nbd+tcp": 10809}


def address_of(told: Mapping[str, str], keys: Address, who: str, backend: str, credentials: str) -> TargetAddress:
    """The address in what a driver told of a volume.

    Args:
        told: volume context and publish context.
        keys: which words of it are what.

    Raises:
        DpuError: UNSUPPORTED; it does not tell one, or in words that nobody was told of. Values stay unsaid: a driver
            may put secrets there.
    """
    export = _first(told, keys.export)
    whole = _first(told, keys.path)
    hosts = [part.strip() for part in _first(told, keys.host).split(",") if part.strip()]
    missing = [] if export else [("export", keys.export)]
    if not whole and not hosts:
        missing.append(("host", keys.host + keys.path))
    if missing:
        part, names = missing[0]
        has = ", ".join(sorted(told)) or "nothing"
        raise DpuError(
            Reason.UNSUPPORTED,
            f"{who} does not say where a volume is reached: its context has {has}, and none of {', '.join(names)}",
            field=f"storage.{backend}.address.{part}",
            remedy="name the keys of this driver there; one that mounts on the node itself cannot serve DPUs",
        )
    port = _number(_first(told, keys.port), PORTS.get(keys.transport, 0), who, "port")
    pairs = [split_address(part.strip(), "path") for part in whole.split(",")] if whole else []
    pairs = pairs or [(host, port) for host in hosts]
    return TargetAddress(
        transport=keys.transport,
        host=pairs[0][0],
        port=pairs[0][1],
        export=export,
        credentials=credentials,
        paths=tuple(TargetPath(host=host, port=number) for host, number in pairs[1:]),
        nsid=_number(_first(told, keys.nsid), 0, who, "nsid"),
    )


def _first(told: Mapping[str, str], keys: tuple[str, ...]) -> str:
    return next((told[key] for key in keys if told.get(key)), "")


def _number(text: str, otherwise: int, who: str, what: str) -> int:
    if text and not text.isdigit():
        raise DpuError(
            Reason.UNSUPPORTED, f"{who} tells a {what} that is no number", remedy="see the driver's documents"
        )
    return int(text) if text else otherwise
