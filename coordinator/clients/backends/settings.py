"""Settings of storage backends: one table ``[storage.NAME]`` each, told apart by its key `driver`."""

from typing import Any

import msgspec


class Driver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="driver"):
    """What every table has: its driver's name."""


class Node(Driver, frozen=True, kw_only=True):
    """A storage node with our daemon.

    Attributes:
        server_name: name in the node's certificate; the address's host when absent.
        authenticate: whether each DPU shows credentials of its own; the node must serve guarded exports then.
        tls: whether NVMe is encrypted besides; NBD always is, with credentials.
    """

    address: str
    server_name: str = ""
    authenticate: bool = True
    tls: bool = True

    @property
    def name_shown(self) -> str:
        """The name that its certificate must carry."""
        return self.server_name or self.address.rpartition(":")[0]


class File(Node, frozen=True, kw_only=True, tag="file"):
    """Volumes as files of qemu-storage-daemon."""


class Lvol(Node, frozen=True, kw_only=True, tag="lvol"):
    """Volumes as logical volumes of SPDK.

    Attributes:
        shred: whether the node can overwrite bytes (its `lvol.clearing` is `write_zeroes`).
    """

    shred: bool = False


class Namespace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A namespace that somebody else has provisioned.

    Attributes:
        size: such as 100Gi.
        nsid: 0 when the subsystem has only one.
        paths: further ``ADDRESS:PORT`` of the same subsystem.
    """

    name: str
    address: str
    nqn: str
    size: str
    nsid: int = 0
    paths: tuple[str, ...] = ()


class NvmeOf(Driver, frozen=True, kw_only=True, tag="nvmeof"):
    """NVMe-oF targets that are provisioned elsewhere: volumes are claims on a list.

    Attributes:
        transport: nvme+tcp or nvme+rdma.
        secret: ``NAMESPACE/NAME`` of the Secret with dhchapKey, dhchapControllerKey and tlsPsk; none when empty.
        reach_s: how long a target may take to answer before a claim on it is refused.
    """

    namespaces: tuple[Namespace, ...]
    transport: str = "nvme+tcp"
    secret: str = ""
    reach_s: float = 3.0


class Rbd(Driver, frozen=True, kw_only=True, tag="rbd"):
    """Images of a Ceph pool.

    Attributes:
        monitor: ``ADDRESS:PORT`` that DPUs begin with.
        conf: ceph.conf of the coordinator; user: its name without ``client.``.
        secret: ``NAMESPACE/NAME`` of the Secret whose cephxKey the DPUs authenticate with.
        namespace: RADOS namespace within the pool.
    """

    pool: str
    monitor: str
    conf: str = "/etc/ceph/ceph.conf"
    user: str = "dpupool"
    secret: str = ""
    namespace: str = ""


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which keys of a publish context tell where the volume is; several names are tried in turn.

    Attributes:
        path: key whose value is ``ADDRESS:PORT`` when host and port come as one.
    """

    transport: str = "nvme+tcp"
    host: tuple[str, ...] = ("targetAddr", "traddr")
    port: tuple[str, ...] = ("targetPort", "trsvcid")
    path: tuple[str, ...] = ()
    export: tuple[str, ...] = ("nqn", "subnqn")
    nsid: tuple[str, ...] = ("nsid",)


class Csi(Driver, frozen=True, kw_only=True, tag="csi"):
    """The Controller service of any CSI driver.

    Attributes:
        endpoint: ``unix:///path/csi.sock``.
        node_id: what the driver is told for a DPU; ``{dpu}`` is its name, ``{nqn}`` the NQN that it shows.
        address: how its publish context becomes an address.
        secret: ``NAMESPACE/NAME`` of the Secret with what DPUs authenticate to the exports with.
        parameters: what every CreateVolume carries.
    """

    endpoint: str
    node_id: str = "{dpu}"
    address: Address = Address()
    secret: str = ""
    parameters: dict[str, str] = {}


Storage = File | Lvol | NvmeOf | Rbd | Csi
"""Any of them."""


def with_driver(table: dict[str, Any]) -> dict[str, Any]:
    """A configuration's table with the driver of each backend written out: `file` where none is."""
    named = table.get("storage")
    if not isinstance(named, dict):
        return table
    filled = {
        name: {"driver": "file", **settings} if isinstance(settings, dict) else settings
        for name, settings in named.items()
    }
    return table | {"storage": filled}
