"""Checks of what OPI clients send, and conversions of the types that several objects share."""

import ipaddress
import re
import uuid
from typing import Any

from dpu_daemon.model.disk import DiskStats
from dpu_daemon.model.opi import AddressFamily, Limits, PciFunction, Transport
from dpu_daemon.service.validation import LARGEST_BYTES, SECTOR_BYTES, invalid
from proto.errors import DpuError
from proto.opi_api.storage.v1 import opicommon_pb2 as common
from proto.reasons import Reason

INT32_MAX = (1 << 31) - 1
LARGEST_BLOCK = 64 << 10
_NQN = re.compile(r"nqn\.\d{4}-(0[1-9]|1[0-2])\.[A-Za-z0-9.-]+:[!-~]+")
_NQN_BYTES = 223
_DISCOVERY = "nqn.2014-08.org.nvmexpress.discovery"
RESERVED_NQN = "nqn.2025-01.io.dpupool:disk:"
"""Subsystems of attachments; an OPI client gets none of these."""
_PSK = re.compile(r"NVMeTLSkey-1:0[0-2]:[A-Za-z0-9+/=]+:")
_TRANSPORTS: dict[int, Transport] = {
    common.NVME_TRANSPORT_TYPE_PCIE: Transport.PCIE,
    common.NVME_TRANSPORT_TYPE_RDMA: Transport.RDMA,
    common.NVME_TRANSPORT_TYPE_TCP: Transport.TCP,
}
_FAMILIES: dict[int, AddressFamily] = {
    common.NVME_ADDRESS_FAMILY_IPV4: AddressFamily.IPV4,
    common.NVME_ADDRESS_FAMILY_IPV6: AddressFamily.IPV6,
}
TRANSPORT_NUMBERS = {transport: number for number, transport in _TRANSPORTS.items()}
FAMILY_NUMBERS = {family: number for number, family in _FAMILIES.items()}


def unsupported(field: str, message: str, remedy: str) -> DpuError:
    """An UNSUPPORTED error for this field."""
    return DpuError(Reason.UNSUPPORTED, message, field=field, remedy=remedy)


def required(field: str, message: Any, name: str) -> Any:
    """A sub-message that has to be there."""
    if not message.HasField(name):
        raise invalid(f"{field}.{name}" if field else name, "is missing", "send it")
    return getattr(message, name)


def check_count(field: str, value: int, *, least: int = 0, most: int = INT32_MAX) -> int:
    """A number in its range."""
    if not least <= value <= most:
        raise invalid(field, f"{value} is out of range", f"use {least} to {most}")
    return value


def check_blocks(field: str, block_size: int, blocks_count: int, *, least: int = 1) -> tuple[int, int]:
    """Size and number of blocks: powers of two from 512 bytes, together no more than a disk can have."""
    if not SECTOR_BYTES <= block_size <= LARGEST_BLOCK or block_size & (block_size - 1):
        remedy = f"use a power of two from {SECTOR_BYTES} to {LARGEST_BLOCK}"
        raise invalid(f"{field}.block_size", f"{block_size} is not a block size", remedy)
    most = LARGEST_BYTES // block_size
    return block_size, check_count(f"{field}.blocks_count", blocks_count, least=least, most=most)


def check_uuid(field: str, value: str) -> str:
    """A UUID in its usual form; empty leaves the choice to the daemon."""
    if not value:
        return ""
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise invalid(
            field, f"{value[:40]!r} is not a UUID", "use one such as 1b4e28ba-2fa1-11d2-883f-b9a761bde3fb"
        ) from (error)


def check_nqn(field: str, value: str) -> str:
    """An NVMe Qualified Name; SPDK itself lets wrong months and blanks pass."""
    if not _NQN.fullmatch(value) or len(value) > _NQN_BYTES or value.startswith(_DISCOVERY):
        remedy = f"use nqn.YYYY-MM.reverse.domain:name, at most {_NQN_BYTES} characters, not the discovery service's"
        raise invalid(field, f"{value[:60]!r} is not an NQN of a subsystem or host", remedy)
    return value


def check_own_nqn(field: str, value: str) -> str:
    """An NQN that an OPI client may give to a subsystem of this DPU."""
    if value.startswith(RESERVED_NQN):
        raise invalid(field, f"{RESERVED_NQN} is kept for attachments", "choose another NQN")
    return check_nqn(field, value)


def check_optional_nqn(field: str, value: str) -> str:
    """An NQN, or empty for none."""
    return check_nqn(field, value) if value else ""


def check_ascii(field: str, value: str, most: int) -> str:
    """Printable ASCII of at most so many characters."""
    if len(value) > most or not all(" " <= letter <= "~" for letter in value) or value != value.strip():
        raise invalid(field, f"{value[:60]!r} is too long or not printable", f"use at most {most} ASCII characters")
    return value


def check_psk(field: str, value: bytes) -> bytes:
    """A pre-shared key in interchange form; its text never shows in an error."""
    if value and not (value.isascii() and _PSK.fullmatch(value.decode("ascii"))):
        raise invalid(field, "is not a pre-shared key", "send it as NVMeTLSkey-1:HH:BASE64:")
    return value


def transport_of(field: str, number: int) -> Transport:
    """A transport that SPDK has."""
    if number not in _TRANSPORTS:
        if number in {common.NVME_TRANSPORT_TYPE_FC, common.NVME_TRANSPORT_TYPE_CUSTOM}:
            raise unsupported(field, "this DPU speaks NVMe over TCP, RDMA and PCIe", "use one of these")
        raise invalid(field, f"{number} is not a transport", "use PCIE, RDMA or TCP")
    return _TRANSPORTS[number]


def family_of(field: str, number: int, address: str) -> AddressFamily:
    """The family of a numeric address; the two must agree."""
    if number not in _FAMILIES:
        raise invalid(field, f"{number} is not an address family of TCP or RDMA", "use IPV4 or IPV6")
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as error:
        raise invalid("traddr", f"{address[:60]!r} is not a numeric address", "use one such as 192.0.2.10") from error
    family = _FAMILIES[number]
    if (version == 4) is not (family is AddressFamily.IPV4):
        raise invalid(field, f"{address} is of the other family", "make traddr and adrfam agree")
    return family


def function_of(field: str, message: Any) -> PciFunction:
    """A PCIe function; numbers that are left out are 0."""
    numbers = [
        check_count(f"{field}.{name}", getattr(message, name).value, most=most)
        for name, most in (("port_id", 15), ("physical_function", 255), ("virtual_function", 255))
    ]
    return PciFunction(port_id=numbers[0], physical_function=numbers[1], virtual_function=numbers[2])


def from_function(function: PciFunction) -> common.PciEndpoint:
    """The wire's form of a function."""
    endpoint = common.PciEndpoint()
    endpoint.port_id.value = function.port_id
    endpoint.physical_function.value = function.physical_function
    endpoint.virtual_function.value = function.virtual_function
    return endpoint


def limits_of(field: str, message: Any) -> Limits:
    """Limits that SPDK can hold: operations only in total, bandwidth in total and per direction."""
    for name in ("rd_iops_kiops", "wr_iops_kiops"):
        if getattr(message, name):
            text = "SPDK limits operations in total, not by direction"
            raise unsupported(f"{field}.{name}", text, "use rw_iops_kiops")
    names = ("rw_iops_kiops", "rw_bandwidth_mbs", "rd_bandwidth_mbs", "wr_bandwidth_mbs")
    return Limits(**{name: check_count(f"{field}.{name}", getattr(message, name)) for name in names})


def refuse_minimum(field: str, message: Any) -> None:
    """SPDK guarantees nobody anything."""
    if message.ByteSize():
        text = "SPDK caps a volume's traffic; it guarantees none"
        raise unsupported(field, text, "leave the minimum out")


def from_limits(limits: Limits) -> common.QosLimit:
    """The wire's form of limits."""
    return common.QosLimit(
        rw_iops_kiops=limits.rw_iops_kiops,
        rw_bandwidth_mbs=limits.rw_bandwidth_mbs,
        rd_bandwidth_mbs=limits.rd_bandwidth_mbs,
        wr_bandwidth_mbs=limits.wr_bandwidth_mbs,
    )


def from_stats(stats: DiskStats) -> common.VolumeStats:
    """Counters of the wire are int32: a larger one stays at the largest and never wraps. Ticks are microseconds."""
    return common.VolumeStats(
        read_bytes_count=min(stats.read_bytes, INT32_MAX),
        read_ops_count=min(stats.read_ops, INT32_MAX),
        write_bytes_count=min(stats.write_bytes, INT32_MAX),
        write_ops_count=min(stats.write_ops, INT32_MAX),
        unmap_bytes_count=min(stats.unmap_bytes, INT32_MAX),
        unmap_ops_count=min(stats.unmap_ops, INT32_MAX),
        read_latency_ticks=min(stats.read_latency_us, INT32_MAX),
        write_latency_ticks=min(stats.write_latency_us, INT32_MAX),
    )
