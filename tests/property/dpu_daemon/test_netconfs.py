"""Whatever a network configuration says, it is served or refused by a code of CNI: nothing is met later, half done."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dpu_daemon.model.sandbox import Added
from dpu_daemon.service.cni.environment import Verb, read_environment
from dpu_daemon.service.cni.faults import CniCode, CniError, to_output
from dpu_daemon.service.cni.netconf import asked_version, read_netconf
from dpu_daemon.service.cni.results import to_result
from dpu_daemon.service.cni.wishes import to_ask, to_claim, to_valid
from tests.fakes.cni import assignment

CODES = {code.value for code in CniCode}
ADDED = Added(assignment=assignment(), interface="eth0", netns="/run/netns/c1", mtu=1400, representor="dp1")
TEXTS = st.sampled_from(["", "eth0", "/run/netns/c1", "10.16.0.5/16", "0a:58:0a:10:00:05", "/", "a\0b", "1.1.0"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | st.text()
KEYS = st.sampled_from(
    [
        "name",
        "mac",
        "mtu",
        "sandbox",
        "address",
        "gateway",
        "interface",
        "dst",
        "gw",
        "interfaces",
        "ips",
        "routes",
        "dns",
        "nameservers",
        "cniVersion",
        "cni",
        "bandwidth",
        "ingressRate",
        "deviceID",
        "CNIDeviceInfoFile",
        "portMappings",
        "containerID",
        "ifname",
    ]
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
TOP = st.sampled_from(
    [
        "network",
        "subnet",
        "mtu",
        "args",
        "capabilities",
        "runtimeConfig",
        "prevResult",
        "dns",
        "deviceID",
        "ipam",
        "name",
        "cniVersion",
        "type",
        "cni.dev/valid-attachments",
        "cni.dev/attachments",
    ]
)
VARIABLES = {
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/c1",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
    "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
}


def served(config: bytes, verb: Verb) -> None:
    """What a call does before and after the node's own work."""
    environment = read_environment(VARIABLES | {"CNI_COMMAND": verb.value})
    conf = read_netconf(config, verb)
    if verb is Verb.ADD:
        to_ask(environment, conf, device_info=True)
        result = json.loads(to_result(ADDED, conf))
        assert result["cniVersion"] == conf.version.value
        assert all(entry.get("interface", 0) < len(result["interfaces"]) for entry in result["ips"])
    elif verb is Verb.CHECK:
        to_claim(environment, conf)
    elif verb is Verb.GC:
        to_valid(conf)


def refusal(config: bytes, verb: Verb) -> dict[str, Any] | None:
    """What is printed of it; None when it is served."""
    try:
        served(config, verb)
    except CniError as error:
        told: dict[str, Any] = json.loads(to_output(error, asked_version(config)))
        return told
    return None


@given(verb=st.sampled_from(Verb), wrong=st.dictionaries(TOP, VALUES, max_size=3))
def test_every_configuration_is_served_or_refused_by_a_code_of_cni(verb: Verb, wrong: dict[str, Any]) -> None:
    config = json.dumps({"cniVersion": "1.1.0", "name": "dpupool", "type": "dpu-cni"} | wrong).encode()
    told = refusal(config, verb)
    assert told is None or (told["code"] in CODES and told["msg"] and told["details"])
