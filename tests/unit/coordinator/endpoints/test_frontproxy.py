import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from multidict import CIMultiDict, CIMultiDictProxy

from coordinator.endpoints.frontproxy import FrontProxy, from_config_map
from proto.errors import DpuError
from tests.unit.coordinator.endpoints.certificates import Authority

PROXIES = Authority("front-proxy-ca")
STRANGERS = Authority("front-proxy-ca")


def headers(*pairs: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(pairs))


def der(authority: Authority, name: str = "front-proxy-client") -> bytes:
    return authority.issue(name)[0].public_bytes(Encoding.DER)


def described(**more: str) -> FrontProxy:
    return from_config_map(
        {"requestheader-client-ca-file": PROXIES.pem, "requestheader-allowed-names": '["front-proxy-client"]'} | more
    )


ADA = headers(
    ("X-Remote-User", "ada"),
    ("X-Remote-Group", "ops"),
    ("X-Remote-Group", "system:authenticated"),
    ("X-Remote-Extra-scopes%2fread", "a"),
    ("X-Remote-Extra-scopes%2fread", "b"),
    ("X-Remote-Uid", "7"),
)


def test_the_front_proxy_is_believed() -> None:
    caller = described().caller(ADA, der(PROXIES))
    assert caller is not None
    assert (caller.name, caller.groups, caller.uid) == ("ada", ("ops", "system:authenticated"), "7")
    assert caller.extra == {"scopes/read": ("a", "b")}


@pytest.mark.parametrize(
    "peer",
    [None, der(STRANGERS), der(PROXIES, "kubelet")],
    ids=["no certificate", "another authority of the same name", "another name"],
)
def test_nobody_else_is_believed(peer: bytes | None) -> None:
    assert described().caller(ADA, peer) is None


def test_any_name_is_good_when_none_is_listed() -> None:
    assert described(**{"requestheader-allowed-names": "[]"}).caller(ADA, der(PROXIES, "any")) is not None


def test_the_cluster_chooses_the_headers() -> None:
    proxy = described(**{"requestheader-username-headers": '["X-User"]'})
    assert proxy.caller(ADA, der(PROXIES)) is None
    named = proxy.caller(headers(("X-User", "bob")), der(PROXIES))
    assert named is not None
    assert named.name == "bob"


@pytest.mark.parametrize(
    ("key", "value"), [("requestheader-client-ca-file", "nothing"), ("requestheader-allowed-names", "front-proxy")]
)
def test_a_config_map_that_cannot_be_read_names_its_key(key: str, value: str) -> None:
    with pytest.raises(DpuError) as caught:
        described(**{key: value})
    assert caught.value.field == f"data.{key}"
