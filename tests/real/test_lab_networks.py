"""The lab's networks in real namespaces."""

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from lab import namespace, network, topology
from lab.settings import LabSettings
from lab.topology import Topology
from tests.real.running_lab import lab_name

LAB = lab_name("n")
ETHTOOL_GTXCSUM = 0x16
pytestmark = [pytest.mark.real, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture
def plan() -> Iterator[Topology]:
    network.take_down(LAB)
    made = topology.plan(LabSettings(name=LAB, hosts=2))
    network.bring_up(made)
    yield made
    network.take_down(LAB)


def says_hello(server_netns: str, address: str, client_netns: str) -> bool:
    """Whether a TCP connection from one namespace reaches a listener in another."""
    with namespace.entered(server_netns):
        listener = socket.create_server((address, 0))
    with namespace.entered(client_netns):
        client = socket.socket()
    with listener, client:
        client.settimeout(0.5)
        try:
            client.connect(listener.getsockname())
        except OSError:
            return False
        return True


def tx_checksum(netns: str, interface: str) -> int:
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_GTXCSUM, 9))
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
    with namespace.entered(netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, namespace.SIOCETHTOOL, request)
    return int(struct.unpack("II", value.raw[:8])[1])


def test_the_coordinator_reaches_dpus_bmcs_and_the_storage_node(plan: Topology) -> None:
    for netns, address in (("dpu2", topology.dpu_address(2)), ("bmc1", topology.bmc_address(1)), ("st", "198.18.0.20")):
        assert says_hello(f"{LAB}-{netns}", address, f"{LAB}-mgmt")


def test_a_dpu_reaches_the_storage_node_over_the_storage_network(plan: Topology) -> None:
    assert says_hello(f"{LAB}-st", topology.storage_address(topology.STORAGE), f"{LAB}-dpu1")


def test_neither_coordinator_nor_bmc_nor_fabric_is_on_the_storage_network(plan: Topology) -> None:
    for netns in ("mgmt", "bmc1", "fab"):
        assert not says_hello(f"{LAB}-st", topology.storage_address(topology.STORAGE), f"{LAB}-{netns}")


def test_the_machine_itself_cannot_reach_into_the_lab(plan: Topology) -> None:
    assert not says_hello(f"{LAB}-mgmt", topology.coordinator_address(), "")


def test_packets_carry_checksums_when_they_reach_the_switch(plan: Topology) -> None:
    for link in plan.links:
        assert tx_checksum(link.netns, link.name) == 0
        assert tx_checksum(plan.switch, link.far_name) == 0


def test_making_them_twice_changes_nothing(plan: Topology) -> None:
    before = {name: (namespace.NETNS_DIR / name).stat().st_ino for name in plan.netns}
    network.bring_up(plan)
    assert before == {name: (namespace.NETNS_DIR / name).stat().st_ino for name in plan.netns}
    assert says_hello(f"{LAB}-dpu1", topology.dpu_address(1), f"{LAB}-mgmt")


def test_what_is_missing_is_made_again(plan: Topology) -> None:
    namespace.remove(f"{LAB}-dpu1")
    network.bring_up(plan)
    assert says_hello(f"{LAB}-dpu1", topology.dpu_address(1), f"{LAB}-mgmt")


def test_a_dead_file_in_place_of_a_namespace_is_replaced(plan: Topology) -> None:
    namespace.remove(f"{LAB}-bmc2")
    (namespace.NETNS_DIR / f"{LAB}-bmc2").touch()
    network.bring_up(plan)
    assert namespace.exists(f"{LAB}-bmc2")


def test_taking_down_leaves_no_namespace_and_may_be_repeated(plan: Topology) -> None:
    assert set(network.take_down(LAB)) == set(plan.netns)
    assert namespace.of_lab(LAB) == []
    assert network.take_down(LAB) == []
