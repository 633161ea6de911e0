"""Whatever is wrong with a call is told by the specification's code, with message and details, and leaves nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.contract.cni.daemon import Said
from tests.contract.cni.node import assigned, cni_node, conf, pod_args


@dataclass(frozen=True)
class Bad:
    """A call and what is said to it."""

    code: int
    says: str
    config: object = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    verb: str = "ADD"


def valid(attachments: object) -> dict[str, Any]:
    """A configuration of GC."""
    return conf() | {"cni.dev/valid-attachments": attachments}


NESTED = b'{"cniVersion":' + b"[" * 100_000
BAD: dict[str, Bad] = {
    "no JSON": Bad(6, "no JSON", b"{"),
    "nothing": Bad(6, "no JSON", b""),
    "no UTF-8": Bad(6, "no JSON", b'{"cniVersion":"1.0.0","name":"\xff"}'),
    "nested without end": Bad(6, "no JSON", NESTED),
    "no object": Bad(6, "no object", b"[1]"),
    "no version": Bad(1, "cniVersion: missing", {"name": "n", "type": "dpu-cni"}),
    "an old version": Bad(1, "0.3.1", conf("0.3.1")),
    "a version of the future": Bad(1, "9.0.0", conf("9.0.0")),
    "a version that is no text": Bad(1, "cniVersion", {**conf(), "cniVersion": 1}),
    "no name": Bad(7, "name: missing", {"cniVersion": "1.0.0", "type": "dpu-cni"}),
    "a name with a slash": Bad(7, "name", conf(name="a/b")),
    "an over-long name": Bad(7, "name", conf(name="n" * 254)),
    "no type": Bad(7, "type: missing", {"cniVersion": "1.0.0", "name": "n"}),
    "an unknown key": Bad(2, "mtuu: 1400 is not supported", conf(mtuu=1400)),
    "an IPAM plug-in": Bad(2, 'ipam: {"type":"host-local"}', conf(ipam={"type": "host-local"})),
    "masquerading": Bad(2, "ipMasq: true", conf(ipMasq=True)),
    "a list": Bad(2, "plugins", conf(plugins=[{"type": "dpu-cni"}])),
    "a network that is a number": Bad(7, "network", conf(network=7)),
    "a network of no such name": Bad(7, "network", conf(network="a b")),
    "an over-long network": Bad(7, "network", conf(network="n" * 254)),
    "an MTU that is text": Bad(7, "mtu", conf(mtu="1400")),
    "an MTU that is true": Bad(7, "mtu", conf(mtu=True)),
    "an MTU below zero": Bad(7, "mtu", conf(mtu=-1)),
    "an MTU beyond Ethernet": Bad(7, "mtu", conf(mtu=70_000)),
    "an MTU too large for the network": Bad(7, "1400", conf(mtu=9000)),
    "an MTU too small for IPv6": Bad(7, "1280", conf(mtu=1000)),
    "arguments that are a list": Bad(7, "args", conf(args=[])),
    "arguments of CNI that are text": Bad(7, "args.cni", conf(args={"cni": "x"})),
    "a result that is a list": Bad(7, "prevResult", conf(prevResult=[])),
    "a result that could not be told on": Bad(7, "prevResult: is longer", conf(prevResult={"x": "y" * (2 << 20)})),
    "a result whose interfaces are an object": Bad(7, "prevResult.interfaces", conf(prevResult={"interfaces": {}})),
    "a result with a version that is a number": Bad(7, "prevResult.cniVersion", conf(prevResult={"cniVersion": 1})),
    "a result whose interface is a number": Bad(7, "prevResult.interfaces[0]", conf(prevResult={"interfaces": [1]})),
    "a result whose interface has a number for a name": Bad(
        7, "prevResult.interfaces[0].name", conf(prevResult={"interfaces": [{"name": 1}]})
    ),
    "a result whose interface has a text for an MTU": Bad(
        7, "prevResult.interfaces[0].mtu", conf(prevResult={"interfaces": [{"name": "x", "mtu": "1400"}]})
    ),
    "a result whose address is text": Bad(7, "prevResult.ips[0]", conf(prevResult={"ips": ["192.0.2.1/24"]})),
    "a result without its address": Bad(7, "prevResult.ips[0].address", conf(prevResult={"ips": [{}]})),
    "a result with an address that is none": Bad(
        7, "prevResult.ips[0].address", conf(prevResult={"ips": [{"address": "192.0.2.256/24"}]})
    ),
    "a result with a gateway that is none": Bad(
        7, "prevResult.ips[0].gateway", conf(prevResult={"ips": [{"address": "192.0.2.1/24", "gateway": "x"}]})
    ),
    "a result with an address of an interface that it has not": Bad(
        7, "prevResult.ips[0].interface", conf(prevResult={"ips": [{"address": "192.0.2.1/24", "interface": 0}]})
    ),
    "a result with a route to nowhere": Bad(7, "prevResult.routes[0].dst", conf(prevResult={"routes": [{"gw": "x"}]})),
    "a result whose name servers are text": Bad(7, "prevResult.dns", conf(prevResult={"dns": "192.0.2.53"})),
    "name servers that are text": Bad(7, "dns.nameservers", conf(dns={"nameservers": "192.0.2.53"})),
    "a domain that is a number": Bad(7, "dns.domain", conf(dns={"domain": 1})),
    "a subnet that is a number": Bad(7, "subnet", conf(subnet=7)),
    "capabilities that are a list": Bad(7, "capabilities", conf(capabilities=["mac"])),
    "run time settings that are text": Bad(7, "runtimeConfig", conf(runtimeConfig="x")),
    "port mappings": Bad(2, "runtimeConfig.portMappings", conf(runtimeConfig={"portMappings": [{"hostPort": 80}]})),
    "ranges of addresses": Bad(2, "runtimeConfig.ipRanges", conf(runtimeConfig={"ipRanges": [[{}]]})),
    "InfiniBand": Bad(2, "infinibandGUID", conf(runtimeConfig={"infinibandGUID": "c2:11"})),
    "an address that is none": Bad(7, "runtimeConfig.ips", conf(runtimeConfig={"ips": ["10.16.0.256/16"]})),
    "addresses that are text": Bad(7, "runtimeConfig.ips", conf(runtimeConfig={"ips": "10.16.0.5/16"})),
    "a static address of somebody else": Bad(105, "10.16.0.77", conf(runtimeConfig={"ips": ["10.16.0.77/16"]})),
    "a static address in the arguments": Bad(105, "10.16.0.77", conf(args={"cni": {"ips": ["10.16.0.77/16"]}})),
    "a static address in CNI_ARGS": Bad(105, "10.16.0.77", None, {"CNI_ARGS": pod_args("web") + ";IP=10.16.0.77"}),
    "a MAC that is none": Bad(7, "runtimeConfig.mac", conf(runtimeConfig={"mac": "0a:58"})),
    "a MAC of many": Bad(7, "runtimeConfig.mac", conf(runtimeConfig={"mac": "01:00:5e:00:00:01"})),
    "a MAC of somebody else": Bad(105, "0a:58:0a:10:00:77", conf(runtimeConfig={"mac": "0a:58:0a:10:00:77"})),
    "a MAC that is a number": Bad(7, "runtimeConfig.mac", conf(runtimeConfig={"mac": 0})),
    "a limit below zero": Bad(7, "ingressRate", conf(runtimeConfig={"bandwidth": {"ingressRate": -1}})),
    "limits that are a list": Bad(7, "runtimeConfig.bandwidth", conf(runtimeConfig={"bandwidth": [1]})),
    "a device that is a number": Bad(7, "deviceID", conf(runtimeConfig={"deviceID": 5})),
    "a device that is an empty list": Bad(7, "deviceID", conf(runtimeConfig={"deviceID": []})),
    "a device of a node without any": Bad(7, "deviceID", conf(runtimeConfig={"deviceID": "0000:03:00.2"})),
    "a relative device information file": Bad(7, "CNIDeviceInfoFile", conf(runtimeConfig={"CNIDeviceInfoFile": "x"})),
    "a device information file with a NUL": Bad(
        7, "CNIDeviceInfoFile", conf(runtimeConfig={"CNIDeviceInfoFile": "/run/a\0b"})
    ),
    "a device information file that is a folder": Bad(
        7, "CNIDeviceInfoFile", conf(runtimeConfig={"CNIDeviceInfoFile": "/"})
    ),
    "no container": Bad(4, "CNI_CONTAINERID", None, {"CNI_CONTAINERID": None}),
    "an empty container": Bad(4, "CNI_CONTAINERID", None, {"CNI_CONTAINERID": ""}),
    "no namespace": Bad(4, "CNI_NETNS", None, {"CNI_NETNS": None}),
    "no interface": Bad(4, "CNI_IFNAME", None, {"CNI_IFNAME": None}),
    "none of them": Bad(
        4,
        "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME",
        None,
        {"CNI_CONTAINERID": None, "CNI_NETNS": None, "CNI_IFNAME": None},
    ),
    "a container with a slash": Bad(4, "CNI_CONTAINERID", None, {"CNI_CONTAINERID": "a/b"}),
    "a container that begins with a dash": Bad(4, "CNI_CONTAINERID", None, {"CNI_CONTAINERID": "-rf"}),
    "an over-long container": Bad(4, "CNI_CONTAINERID", None, {"CNI_CONTAINERID": "c" * 254}),
    "an over-long interface": Bad(4, "CNI_IFNAME", None, {"CNI_IFNAME": "i" * 16}),
    "an interface with a slash": Bad(4, "CNI_IFNAME", None, {"CNI_IFNAME": "a/b"}),
    "an interface with a colon": Bad(4, "CNI_IFNAME", None, {"CNI_IFNAME": "eth0:1"}),
    "an interface with a space": Bad(4, "CNI_IFNAME", None, {"CNI_IFNAME": "a b"}),
    "an interface of two dots": Bad(4, "CNI_IFNAME", None, {"CNI_IFNAME": ".."}),
    "an interface of all names": Bad(4, "CNI_IFNAME", None, {"CNI_IFNAME": "all"}),
    "an interface that is a pattern": Bad(4, "CNI_IFNAME", None, {"CNI_IFNAME": "eth%d"}),
    "a relative namespace": Bad(4, "CNI_NETNS", None, {"CNI_NETNS": "run/netns/x"}),
    "a namespace that is not there": Bad(8, "CNI_NETNS", None, {"CNI_NETNS": "/run/netns/nowhere"}),
    "a namespace that is a file": Bad(8, "CNI_NETNS", None, {"CNI_NETNS": "/etc/passwd"}),
    "a namespace that is a folder": Bad(8, "CNI_NETNS", None, {"CNI_NETNS": "/run"}),
    "a namespace of another kind": Bad(8, "CNI_NETNS", None, {"CNI_NETNS": "/proc/self/ns/mnt"}),
    "the runtime's own namespace": Bad(8, "CNI_NETNS", None, {"CNI_NETNS": "/proc/1/ns/net"}),
    "no arguments": Bad(4, "K8S_POD_NAMESPACE and K8S_POD_NAME", None, {"CNI_ARGS": None}),
    "no pod": Bad(4, "K8S_POD_NAME", None, {"CNI_ARGS": "K8S_POD_NAMESPACE=default"}),
    "an unknown argument": Bad(4, "COLOUR", None, {"CNI_ARGS": "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;COLOUR=red"}),
    "an unknown argument, not ignored": Bad(4, "COLOUR", None, {"CNI_ARGS": "IgnoreUnknown=0;COLOUR=red"}),
    "an argument without value": Bad(4, "no KEY=VALUE", None, {"CNI_ARGS": "IgnoreUnknown=1;COLOUR"}),
    "a truth that is none": Bad(4, "IgnoreUnknown", None, {"CNI_ARGS": "IgnoreUnknown=maybe"}),
    "a pod with a slash": Bad(4, "K8S_POD_NAME", None, {"CNI_ARGS": "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b/c"}),
    "a pod of another uid": Bad(105, "uid another", None, {"CNI_ARGS": pod_args("web", uid="another")}),
    "GC of an older version": Bad(1, "GC exists since 1.1.0", conf("1.0.0"), verb="GC"),
    "STATUS of an older version": Bad(1, "STATUS exists since 1.1.0", conf("0.4.0"), verb="STATUS"),
    "GC without a path": Bad(4, "CNI_PATH", valid([]), {"CNI_PATH": None}, verb="GC"),
    "GC with a list that is text": Bad(7, "valid-attachments", valid("x"), verb="GC"),
    "GC with an entry that lacks a name": Bad(7, "valid-attachments", valid([{"containerID": "c"}]), verb="GC"),
    "GC with an entry that cannot be": Bad(
        7, "valid-attachments", valid([{"containerID": "/", "ifname": "e"}]), verb="GC"
    ),
    "CHECK of what was never added": Bad(101, "call ADD", conf(), verb="CHECK"),
    "CHECK with a result of others": Bad(
        7, "prevResult.interfaces", conf(prevResult={"interfaces": [{"name": "x"}]}), verb="CHECK"
    ),
    "CHECK with a result of another container": Bad(
        7,
        "prevResult.interfaces",
        conf(prevResult={"interfaces": [{"name": "eth0", "sandbox": "/run/netns/another"}]}),
        verb="CHECK",
    ),
    "DEL without a container": Bad(4, "CNI_CONTAINERID", None, {"CNI_CONTAINERID": None}, verb="DEL"),
    "DEL without JSON": Bad(6, "no JSON", b"{", verb="DEL"),
}


def error_of(said: Said) -> dict[str, Any]:
    """The error, after looking that it is the only thing said."""
    assert (said.status, said.stderr) == (1, b"")
    error: dict[str, Any] = json.loads(said.stdout)
    assert set(error) == {"cniVersion", "code", "msg", "details"}
    assert error["msg"]
    assert error["details"]
    return error


@pytest.mark.timeout(300)
async def test_every_bad_call_is_refused_by_its_code_and_leaves_nothing(executable: Path) -> None:
    async with cni_node(executable, wait_s=0.7) as node:
        await node.assign(assigned("web", interface=""))
        container = node.container()
        clean = node.state(container)
        wrong: list[str] = []
        for name, bad in BAD.items():
            said = await node.call(bad.verb, container, config=bad.config, environment=bad.environment)
            error = error_of(said)
            if error["code"] != bad.code or bad.says not in error["msg"] + error["details"]:
                wrong.append(f"{name}: {error}")
        assert not wrong, "\n".join(wrong)
        assert node.state(container) == clean
        added = await node.call("ADD", container)
        assert added.status == 0, added.stdout
