"""The four services of OPI's evpn-gw bridge."""

from collections.abc import Callable
from typing import Any

from dpu_daemon.engine.opi_network.intents import AskedNet
from dpu_daemon.engine.opi_network.objects import NetworkObjects
from dpu_daemon.service.opi.collection import Collection
from dpu_daemon.service.opi.services import Handler, OpiServicer, refusal
from dpu_daemon.service.opi_network import codecs
from dpu_daemon.service.opi_network.codecs import NetCodec
from proto.opi_api.network.evpn_gw.v1alpha1 import l2_xpu_infra_mgr_pb2_grpc as l2_grpc
from proto.opi_api.network.evpn_gw.v1alpha1 import l3_xpu_infra_mgr_pb2_grpc as l3_grpc

_SERVICES: tuple[tuple[Callable[[Any, Any], None], NetCodec], ...] = (
    (l2_grpc.add_LogicalBridgeServiceServicer_to_server, codecs.BRIDGE),
    (l2_grpc.add_BridgePortServiceServicer_to_server, codecs.PORT),
    (l3_grpc.add_VrfServiceServicer_to_server, codecs.VRF),
    (l3_grpc.add_SviServiceServicer_to_server, codecs.SVI),
)
NO_SWITCH = ("this daemon was started without a switch for OPI", "give it one")


class NetRpcs(Collection):
    """Create, delete, update, list and get of one collection.

    Args:
        codec: of the collection.
        objects: of the engine.
    """

    def __init__(self, codec: NetCodec, objects: NetworkObjects) -> None:
        super().__init__(codec, objects)
        self._codec = codec

    def _asks(self, name: str, message: Any, *, new: bool) -> AskedNet:  # noqa: ARG002  (the same for both)
        return AskedNet(name=name, kind=self._codec.kind, spec=self._codec.read(message))

    def _written(self, view: Any) -> Any:
        return self._codec.write(view)


def add_opi_network(server: Any, objects: NetworkObjects | None) -> None:
    """Add the services to a server.

    Args:
        server: of gRPC.
        objects: of the engine; None where there is no switch, and every rpc says so.
    """
    for add, codec in _SERVICES:
        add(OpiServicer(_handlers(codec, objects)), server)


def _handlers(codec: NetCodec, objects: NetworkObjects | None) -> dict[str, Handler]:
    noun = codec.noun
    if objects is None:
        names = (f"Create{noun}", f"Delete{noun}", f"Update{noun}", f"List{noun}s", f"Get{noun}")
        return dict.fromkeys(names, refusal(*NO_SWITCH))
    rpcs = NetRpcs(codec, objects)
    return {
        f"Create{noun}": rpcs.create,
        f"Delete{noun}": rpcs.delete,
        f"Update{noun}": rpcs.update,
        f"List{noun}s": rpcs.page,
        f"Get{noun}": rpcs.get,
    }
