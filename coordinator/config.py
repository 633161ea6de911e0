"""Settings of the coordinator: one TOML file; what is wrong in it is named by key and file."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from coordinator.clients.backends.settings import Storage, with_driver
from coordinator.net_settings import Ovn, check_ovn
from coordinator.pool_settings import Pools
from proto.errors import DpuError
from proto.ovsdb.remotes import TlsFiles
from proto.reasons import Reason


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Api(Section, frozen=True, kw_only=True):
    """Where the API is.

    Attributes:
        kubeconfig: file for a real API server; the embedded one is not started then.
        listen: of the embedded one: ``ADDRESS:PORT``, or ``fd:NAME`` for an inherited socket.
        tls_cert, tls_key: its certificate; it must also be valid for 127.0.0.1.
        client_ca: signs the certificates of clients; who has none needs a token.
        tokens: static token file (token,user,uid,"group,group"); made with a token for ourselves when absent.
        crds: folder of CRD manifests; the ones of this package when absent.
        max_bytes: largest size of the database; 0 for no limit.
    """

    kubeconfig: str = ""
    listen: tuple[str, ...] = ("127.0.0.1:6443",)
    tls_cert: str = ""
    tls_key: str = ""
    client_ca: str = ""
    tokens: str = ""
    crds: str = ""
    max_bytes: int = 0


class Client(Section, frozen=True, kw_only=True):
    """Who we are to DPUs and storage nodes, and whom we believe; PEM files."""

    ca: str
    cert: str
    key: str


class Metrics(Section, frozen=True, kw_only=True):
    """Where metrics are served besides the API's /metrics: ``ADDRESS:PORT``, loopback or a trusted network only."""

    listen: str = ""


class Autoscaler(Section, frozen=True, kw_only=True):
    """Where an unchanged Kubernetes Cluster Autoscaler finds us; ``ADDRESS:PORT``, nothing is served when empty.

    Attributes:
        listen: as its external gRPC cloud provider, over mutual TLS; clients have O=dpupool:autoscaler.
        expander_listen: as its expander plugin, over TLS; that client can show no certificate: trusted networks only.
        tls_cert, tls_key: valid for the host in the client's address; those of [api] when absent.
        client_ca: signs the certificates of clients; that of [api] when absent.
    """

    listen: str = ""
    expander_listen: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    client_ca: str = ""


class Csi(Section, frozen=True, kw_only=True):
    """The CSI Controller; nothing is served when `listen` is empty.

    Attributes:
        listen: ``unix:///PATH.sock``; its folder must hold nothing else.
        name: of the plug-in, what a StorageClass calls its provisioner.
        namespace: of the volumes, snapshots and attachments that are made; it is made too.
        backend: for classes that name none.
        pools: values of the label topology.dpupool.io/pool of the hosts that reach a backend, by its name; a backend
            that is not here is reached by all.
    """

    listen: str = ""
    name: str = "csi.dpupool.io"
    namespace: str = "dpupool-csi"
    backend: str = "file"
    pools: dict[str, tuple[str, ...]] = {}


class Cpu(Section, frozen=True, kw_only=True):
    """Placement of instances on CPUs.

    Attributes:
        listen: of the gRPC service, ``ADDRESS:PORT``, over mutual TLS (O=dpupool:scheduler); not served when empty.
        tls_cert, tls_key, client_ca: for it; those of [api] when absent.
        clusters: kubeconfig files of further clusters, by name; ``default`` is the one of the API itself.
        poll_s: between looks at a host that answers.
        parallel_hosts: calls to hosts at a time.
    """

    listen: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    client_ca: str = ""
    clusters: dict[str, str] = {}
    poll_s: float = 30.0
    parallel_hosts: int = 16


class Resize(Section, frozen=True, kw_only=True):
    """Scaling of running pods.

    Attributes:
        prometheus: address of the server that policies with queries ask, such as ``http://prometheus:9090``.
    """

    prometheus: str = ""


class Timing(Section, frozen=True, kw_only=True):
    """Seconds; see coordinator.controllers.context.Timing and coordinator.core.machine.deadlines."""

    host_poll_s: float = 10.0
    dpu_poll_s: float = 2.0
    offline_after_s: float = 10.0
    work_s: float = 60.0
    power_s: float = 120.0
    boot_s: float = 900.0
    stop_s: float = 30.0


class Config(Section, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        state: database of the embedded API.
        secrets_namespace: where Secrets that the coordinator makes are.
    """

    api: Api = Api()
    client: Client | None = None
    storage: dict[str, Storage] = {}
    metrics: Metrics = Metrics()
    autoscaler: Autoscaler = Autoscaler()
    csi: Csi = Csi()
    cpu: Cpu = Cpu()
    resize: Resize = Resize()
    pools: Pools = Pools()
    ovn: Ovn = Ovn()
    timing: Timing = Timing()
    state: str = ""
    secrets_namespace: str = "dpupool-system"
    log_level: str = "info"


def load(path: Path) -> Config:
    """Read the file.

    Raises:
        DpuError: INVALID; it cannot be read, or a key is wrong: the message names key and file.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        found = msgspec.convert(with_driver(table), Config)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise DpuError(Reason.INVALID, f"{path}: {error}", field=_key(str(error)), remedy="correct the file") from error
    _check(found, path)
    return found


def _check(found: Config, path: Path) -> None:
    _check_autoscaler(found, path)
    _check_csi(found, path)
    _check_cpu(found, path)
    _check_pools(found, path)
    _check_ovn(found, path)
    if found.api.kubeconfig:
        return
    for key, value in (
        ("state", found.state),
        ("api.tls_cert", found.api.tls_cert),
        ("api.tls_key", found.api.tls_key),
    ):
        if not value:
            raise DpuError(
                Reason.INVALID,
                f"{path}: {key} is missing",
                field=key,
                remedy="write it, or set api.kubeconfig to use another API server",
            )
    for listen in found.api.listen:
        split_listen(listen)


def _check_autoscaler(found: Config, path: Path) -> None:
    asked = found.autoscaler
    needed = {"tls_cert", "tls_key"} if asked.listen or asked.expander_listen else set()
    for key in sorted(needed | ({"client_ca"} if asked.listen else set())):
        if not getattr(asked, key) and not getattr(found.api, key):
            raise DpuError(
                Reason.INVALID,
                f"{path}: autoscaler.{key} is missing",
                field=f"autoscaler.{key}",
                remedy=f"write it, or api.{key}, or leave autoscaler.listen and autoscaler.expander_listen empty",
            )


def _check_csi(found: Config, path: Path) -> None:
    asked = found.csi
    if not asked.listen:
        return
    checked = (
        ("name", asked.name, r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", "1 to 63 of a-z, 0-9, - and ."),
        ("namespace", asked.namespace, r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "1 to 63 of a-z, 0-9 and -"),
        ("listen", asked.listen, r"unix:///.+\.sock", "unix:///PATH.sock"),
    )
    for key, value, shape, told in checked:
        if not re.fullmatch(shape, value):
            raise DpuError(
                Reason.INVALID, f"{path}: csi.{key} is {value!r}", field=f"csi.{key}", remedy=f"write {told}"
            )
    unknown = sorted({asked.backend, *asked.pools} - set(found.storage)) if found.storage else []
    if unknown:
        raise DpuError(
            Reason.INVALID,
            f"{path}: [csi] names storage backend {unknown[0]}, which is not configured",
            field="csi.backend" if asked.backend in unknown else "csi.pools",
            remedy=f"use one of {', '.join(sorted(found.storage))}",
        )


def _check_cpu(found: Config, path: Path) -> None:
    asked = found.cpu
    if "default" in asked.clusters:
        raise DpuError(
            Reason.INVALID,
            f"{path}: cpu.clusters.default is the cluster of the API itself",
            field="cpu.clusters",
            remedy="give the further cluster another name",
        )
    if asked.poll_s <= 0 or asked.parallel_hosts < 1:
        field = "cpu.poll_s" if asked.poll_s <= 0 else "cpu.parallel_hosts"
        raise DpuError(Reason.INVALID, f"{path}: {field} is too small", field=field, remedy="write at least 1")
    for key in ("tls_cert", "tls_key", "client_ca") if asked.listen else ():
        if not getattr(asked, key) and not getattr(found.api, key):
            raise DpuError(
                Reason.INVALID,
                f"{path}: cpu.{key} is missing",
                field=f"cpu.{key}",
                remedy=f"write it, or api.{key}, or leave cpu.listen empty",
            )


def _check_pools(found: Config, path: Path) -> None:
    try:
        found.pools.loop("")
    except DpuError as error:
        raise DpuError(error.reason, f"{path}: {error.message}", field=error.field, remedy=error.remedy) from error


def ovn_files(found: Config) -> TlsFiles | None:
    """Who this process is to OVN's northbound database; None when nobody asks.

    Raises:
        DpuError: INVALID; names the key.
    """
    client = found.client
    return check_ovn(found.ovn, (client.ca, client.cert, client.key) if client else None)


def _check_ovn(found: Config, path: Path) -> None:
    try:
        ovn_files(found)
    except DpuError as error:
        raise DpuError(error.reason, f"{path}: {error.message}", field=error.field, remedy=error.remedy) from error


def split_listen(text: str) -> tuple[str, int]:
    """Address and port of ``ADDRESS:PORT``; ``fd:NAME`` gives the name and -1.

    Raises:
        DpuError: INVALID.
    """
    host, _, port = text.rpartition(":")
    if host == "fd":
        return port, -1
    if not host or not port.isdigit() or int(port) > 65535:
        raise DpuError(
            Reason.INVALID,
            f"{text!r} is no place to listen",
            field="api.listen",
            remedy="write ADDRESS:PORT or fd:NAME",
        )
    return host.strip("[]"), int(port)


def _key(message: str) -> str:
    """The path in a msgspec message, such as ``api.listen`` of ``… - at `$.api.listen```."""
    _, _, rest = message.partition("`$.")
    return rest.rstrip("`") if rest else ""
