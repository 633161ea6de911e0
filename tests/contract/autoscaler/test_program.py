"""The coordinator as a process serves an autoscaler when its settings say so, and names what they lack."""

from pathlib import Path

import grpc
import pytest

from coordinator import config
from coordinator.clients.kube import KubeApi
from coordinator.core.objects.kinds import Kind
from proto.clusterautoscaler.expander import expander_pb2, expander_pb2_grpc
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2 as pb
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2_grpc
from proto.errors import DpuError
from tests.contract.autoscaler.rig import pool_spec
from tests.contract.coordinator.test_program import kubeconfig, settings, started
from tests.fakes.api import Pki
from tests.fakes.ports import free_port


async def test_an_autoscaler_is_served_by_the_program(tmp_path: Path) -> None:
    pki = Pki.create(tmp_path, "autoscaler-ca")
    server, (cert, key) = pki.issue("provider"), pki.issue("ca-1", ["dpupool:autoscaler"])
    api_port, port, expander_port = free_port(), free_port(), free_port()
    path = settings(tmp_path, api_port)
    listens = f'[autoscaler]\nlisten = "127.0.0.1:{port}"\nexpander_listen = "127.0.0.1:{expander_port}"\n'
    files = f'tls_cert = "{server[0]}"\ntls_key = "{server[1]}"\nclient_ca = "{pki.ca_file}"\n'
    path.write_text(path.read_text() + listens + files)
    authority = pki.ca_file.read_bytes()
    ours = grpc.ssl_channel_credentials(authority, key.read_bytes(), cert.read_bytes())
    anybody = grpc.ssl_channel_credentials(authority)
    async with started(path, tmp_path / "notices"):
        kube = KubeApi.by_kubeconfig(kubeconfig(tmp_path, api_port))
        try:
            await kube.create(Kind.POOL, {"metadata": {"name": "a"}, "spec": pool_spec()})
            async with grpc.aio.secure_channel(f"localhost:{port}", ours) as channel:
                cloud = externalgrpc_pb2_grpc.CloudProviderStub(channel)
                await cloud.Refresh(pb.RefreshRequest())
                await cloud.NodeGroupIncreaseSize(pb.NodeGroupIncreaseSizeRequest(id="a", delta=2))
            assert (await kube.get(Kind.POOL, "a"))["spec"]["replicas"] == 2
            async with grpc.aio.secure_channel(f"localhost:{expander_port}", anybody) as channel:
                asked = expander_pb2.BestOptionsRequest(options=[expander_pb2.Option(nodeGroupId="a", nodeCount=1)])
                answer = await expander_pb2_grpc.ExpanderStub(channel).BestOptions(asked)
            assert [one.nodeGroupId for one in answer.options] == ["a"]
        finally:
            await kube.close()


@pytest.mark.parametrize(
    ("section", "missing"),
    [
        ('[autoscaler]\nlisten = ":1"', "autoscaler.client_ca"),
        ('[autoscaler]\nlisten = ":1"\nclient_ca = "c"', "autoscaler.tls_cert"),
        ('[autoscaler]\nexpander_listen = ":1"\ntls_cert = "c"', "autoscaler.tls_key"),
    ],
)
def test_a_certificate_that_is_missing_is_named(tmp_path: Path, section: str, missing: str) -> None:
    path = tmp_path / "coordinator.toml"
    path.write_text(f'[api]\nkubeconfig = "k"\n{section}\n')
    with pytest.raises(DpuError) as caught:
        config.load(path)
    assert caught.value.field == missing
    assert str(path) in str(caught.value)


def test_the_files_of_the_api_serve_the_autoscaler_too(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.toml"
    api = 'kubeconfig = "k"\ntls_cert = "a"\ntls_key = "b"\nclient_ca = "c"\n'
    path.write_text(f'[api]\n{api}[autoscaler]\nlisten = "0.0.0.0:8086"\n')
    assert config.load(path).autoscaler.listen == "0.0.0.0:8086"
