"""What a machine lacks for this daemon, and how to get it."""

import errno
import io
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

import msgspec
from cryptography import x509
from rich.console import Console
from rich.table import Table

from dpu_daemon.check_host import examine_host
from dpu_daemon.config import (
    BlockKind,
    BusKind,
    Config,
    Discovery,
    DpuConfig,
    NetworkSection,
    StorageConfig,
    TargetKind,
    endpoint,
)
from dpu_daemon.config_host import HostConfig
from dpu_daemon.drivers.devlink import representors
from dpu_daemon.engine.journal import Journal
from dpu_daemon.findings import Finding
from dpu_daemon.model.representor import of_function
from dpu_daemon.sections import TlsSection
from proto.errors import DpuError
from proto.reasons import Reason

EXPIRY_WARNING = timedelta(days=14)
FREE_BYTES = 64 << 20
IN_USE = "is in use by a running daemon"


class CheckFormat(Enum):
    """Form of the answer."""

    TABLE = "table"
    JSON = "json"


def examine(config: Config) -> tuple[Finding, ...]:
    """Look at everything that the settings name; changes nothing but an empty journal where there was none."""
    return tuple(_examine(config))


def _examine(config: Config) -> Iterator[Finding]:
    yield _directory("journal", config.journal.parent)
    journal = _journal(config.journal)
    yield journal
    running = journal.says.endswith(IN_USE)
    if config.tls is not None:
        yield from _certificates(config.tls)
    if not config.listen.startswith("unix:"):
        yield _port("listen", config.listen, running=running)
    if config.metrics.listen:
        yield _port("metrics.listen", config.metrics.listen, running=running)
    if isinstance(config, HostConfig):
        yield from examine_host(config)
    elif isinstance(config, DpuConfig):
        yield from _dpu(config)
    else:
        yield from _storage(config)


def _dpu(config: DpuConfig) -> Iterator[Finding]:
    storage = "start qemu-storage-daemon (Debian: qemu-system-common) with a monitor on this socket"
    if config.block.driver is BlockKind.SPDK:
        yield _socket("block.socket", config.block.socket, "start spdk_tgt with -r on this socket")
        yield _directory("bus.directory", config.bus.directory)
    elif config.block.driver is BlockKind.OPI:
        yield _reached("block.opi", config.block.opi, "start that OPI server, or correct its address")
    else:
        yield _socket("block.qmp", config.block.qmp, storage)
        yield _directory("block.nbd_socket", config.block.nbd_socket.parent)
    yield _directory("block.seed_dir", config.block.seed_dir)
    if config.bus.driver is BusKind.LAB:
        yield _socket("bus.socket", config.bus.socket, "start the host's chassis; in the lab: bmctl lab up")
    if config.bus.driver is BusKind.FUSE:
        yield _socket("bus.qmp", config.bus.host_qmp, storage)
    switch = "start ovsdb-server and ovs-vswitchd (Debian: apt-get install openvswitch-switch)"
    yield _socket("switch.ovsdb", config.switch.ovsdb, switch)
    if config.switch.uplink:
        there = Path("/sys/class/net", config.switch.uplink).exists()
        remedy = "create the netdev, or leave switch.uplink empty; the daemon plugs it when it appears"
        yield _finding("switch.uplink", there, f"netdev {config.switch.uplink}", remedy)
    if config.network.discovery is Discovery.DEVLINK:
        yield _representors(config.network)


def _representors(network: NetworkSection) -> Finding:
    found = len(of_function(representors(), pf=network.pf, controller=network.controller))
    remedy = "give the card virtual functions, and `devlink dev eswitch set DEVICE mode switchdev`"
    return _finding("network.discovery", found > 0, f"representors ({found})", remedy)


def _storage(config: StorageConfig) -> Iterator[Finding]:
    if config.lvol is not None and config.block.driver is TargetKind.LVOL:
        yield _socket("lvol.socket", config.lvol.socket, "start spdk_tgt with -r on this socket")
        if config.lvol.device:
            there = Path(config.lvol.device).exists()
            remedy = "name a file or block device that is there"
            yield _finding("lvol.device", there, f"device {config.lvol.device}", remedy)
    else:
        storage = "start qemu-storage-daemon (Debian: qemu-system-common) with a monitor on this socket"
        yield _socket("block.qmp", config.block.qmp, storage)
        yield _directory("block.volume_dir", config.block.volume_dir)
    yield _directory("block.image_dir", config.block.image_dir, writable=False)


def _finding(subject: str, passed: bool, says: str, remedy: str) -> Finding:  # noqa: FBT001
    return Finding(subject, passed, says if passed else f"{says}: missing", "" if passed else remedy)


def _socket(subject: str, path: Path, remedy: str) -> Finding:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except OSError as error:
            return Finding(subject, passed=False, says=f"{path}: {error.strerror or error}", remedy=remedy)
    return Finding(subject, passed=True, says=f"{path} answers")


def _reached(subject: str, address: str, remedy: str) -> Finding:
    """A server on a Unix socket or on the network."""
    if address.startswith("unix:"):
        return _socket(subject, Path(address.removeprefix("unix:")), remedy)
    where = endpoint(address, subject, Path())
    try:
        socket.create_connection((where.host, where.port), timeout=2.0).close()
    except OSError as error:
        return Finding(subject, passed=False, says=f"{address}: {error.strerror or error}", remedy=remedy)
    return Finding(subject, passed=True, says=f"{address} answers")


def _directory(subject: str, path: Path, *, writable: bool = True) -> Finding:
    if not path.is_dir():
        return Finding(subject, passed=False, says=f"{path} is no directory", remedy=f"mkdir -p -m 0700 {path}")
    if not os.access(path, os.W_OK | os.X_OK if writable else os.R_OK | os.X_OK):
        need = "write" if writable else "read"
        return Finding(
            subject, passed=False, says=f"{path}: no right to {need}", remedy=f"give the daemon's user {path}"
        )
    free = shutil.disk_usage(path).free
    if writable and free < FREE_BYTES:
        return Finding(subject, passed=False, says=f"{path} has {free} bytes free", remedy="free some space")
    return Finding(subject, passed=True, says=f"{path}, {free >> 20} MiB free")


def _journal(path: Path) -> Finding:
    if not path.exists():
        return Finding("journal", passed=True, says=f"{path} does not exist yet; the first start makes it")
    try:
        journal = Journal(path)
    except DpuError as error:
        if error.reason is Reason.UNAVAILABLE and "another process" in error.message:
            return Finding("journal", passed=True, says=f"{path} {IN_USE}")
        return Finding("journal", passed=False, says=error.message, remedy=error.remedy)
    try:
        count = len(journal.read().records)
    except DpuError as error:
        return Finding("journal", passed=False, says=error.message, remedy=error.remedy)
    finally:
        journal.close()
    return Finding("journal", passed=True, says=f"{path} is sound, {count} records")


def _certificates(tls: TlsSection) -> Iterator[Finding]:
    yield _certificate("tls.ca", tls.ca)
    yield _certificate("tls.cert", tls.cert)
    key = tls.key
    if not os.access(key, os.R_OK):
        yield Finding("tls.key", passed=False, says=f"{key} cannot be read", remedy="issue a key for this daemon")
        return
    open_to_others = bool(key.stat().st_mode & 0o077)
    remedy = f"chmod 0600 {key}"
    says = f"{key} is readable by others" if open_to_others else f"{key} is readable by its owner alone"
    yield Finding("tls.key", passed=not open_to_others, says=says, remedy=remedy if open_to_others else "")


def _certificate(subject: str, path: Path) -> Finding:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return Finding(subject, passed=False, says=f"{path}: {error}", remedy="issue a certificate for this daemon")
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    says = f"{path}: {certificate.subject.rfc4514_string()}, valid for {left.days} more days"
    if left < EXPIRY_WARNING:
        return Finding(subject, passed=False, says=says, remedy="renew it, then send SIGHUP")
    return Finding(subject, passed=True, says=says)


def _port(subject: str, text: str, *, running: bool) -> Finding:
    """Whether the daemon can listen there; beside a running one (`running`) the address is its own."""
    where = endpoint(text, subject, Path())
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((where.host, where.port))
        except OSError as error:
            if running and error.errno == errno.EADDRINUSE:
                return Finding(subject, passed=True, says=f"{text} is held by the running daemon")
            return Finding(subject, passed=False, says=f"{text}: {error.strerror or error}", remedy=_way(error))
    return Finding(subject, passed=True, says=f"{text} is free")


def _way(error: OSError) -> str:
    """What helps when an address cannot be listened on."""
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface here has this address: correct it, or run the check in the network namespace that has it"
    if error.errno == errno.EACCES:
        return "choose a port above 1023, or give the daemon CAP_NET_BIND_SERVICE"
    return "stop what listens there, or choose another address"


def render(findings: Sequence[Finding], form: CheckFormat) -> str:
    """The findings, for people or for machines."""
    if form is CheckFormat.JSON:
        return msgspec.json.format(msgspec.json.encode([asdict(finding) for finding in findings]), indent=2).decode()
    table = Table("", "WHAT", "SEEN", "REMEDY", box=None)
    for finding in findings:
        table.add_row("ok" if finding.passed else "MISSING", finding.subject, finding.says, finding.remedy)
    text = io.StringIO()
    Console(width=160, file=text).print(table)
    return text.getvalue().rstrip()
