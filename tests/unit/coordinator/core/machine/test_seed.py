"""cloud-init documents."""

import re
from pathlib import Path

import yaml

from coordinator.core.ipam.allocate import Lease
from coordinator.core.machine.names import is_label, owned_name, port_id
from coordinator.core.machine.seed import NicConfig, nic_configs, seed_documents
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.network import Allocation, Network, Subnet

UID = "12345678-1234-1234-1234-123456789abc"


def machine(**nic: object) -> Machine:
    spec = {"image": "tiny", "nics": [{"name": "eth0", "subnetRef": {"name": "a"}} | nic]}
    return Machine.parse({"metadata": {"name": "bm", "namespace": "default", "uid": UID}, "spec": spec})


def configs(found: Machine, cidr: str = "10.0.0.0/24", address: str = "10.0.0.5", **subnet: object) -> list[NicConfig]:
    spec = {"networkRef": {"name": "lan"}, "cidr": cidr} | subnet
    subnets = {"a": Subnet.parse({"metadata": {"name": "a"}, "spec": spec})}
    networks = {"lan": Network.parse({"metadata": {"name": "lan"}, "spec": {"mtu": 9000}})}
    line = Allocation(address=address, mac="0a:d9:00:00:00:01", uid=UID, nic="eth0")
    return nic_configs(found, {"eth0": Lease(subnet="a", allocation=line)}, subnets, networks)


def test_the_network_is_matched_by_mac_with_static_addresses() -> None:
    found = machine()
    documents = seed_documents(found, "", configs(found, gateway="10.0.0.1", dns=["10.0.0.2"]))
    assert yaml.safe_load(documents.network_config) == {
        "version": 2,
        "ethernets": {
            "eth0": {
                "match": {"macaddress": "0a:d9:00:00:00:01"},
                "addresses": ["10.0.0.5/24"],
                "dhcp4": False,
                "dhcp6": False,
                "mtu": 9000,
                "routes": [{"to": "0.0.0.0/0", "via": "10.0.0.1"}],
                "nameservers": {"addresses": ["10.0.0.2"]},
            }
        },
    }


def test_the_default_route_of_an_ipv6_subnet_is_an_ipv6_one() -> None:
    found = machine()
    documents = seed_documents(found, "", configs(found, cidr="fd00::/64", address="fd00::5", gateway="fd00::1"))
    ethernet = yaml.safe_load(documents.network_config)["ethernets"]["eth0"]
    assert ethernet["routes"] == [{"to": "::/0", "via": "fd00::1"}]
    assert ethernet["addresses"] == ["fd00::5/64"]


def test_meta_data_names_the_machine_by_uid_so_that_a_new_one_is_a_new_instance() -> None:
    documents = seed_documents(machine(), "", [])
    meta = yaml.safe_load(documents.meta_data)
    assert meta == {"instance-id": UID, "local-hostname": "bm", "provider_id": "dpupool://default/bm"}


def test_without_user_data_there_is_an_empty_cloud_config() -> None:
    assert yaml.safe_load(seed_documents(machine(), "", []).user_data) == {}
    assert seed_documents(machine(), "#!/bin/sh\n", []).user_data == "#!/bin/sh\n"


def test_a_nics_own_mtu_wins_over_the_networks() -> None:
    found = machine(mtu=1400)
    assert configs(found)[0].mtu == 1400


def test_the_digest_changes_with_any_document() -> None:
    found = machine()
    assert seed_documents(found, "a", []).digest != seed_documents(found, "b", []).digest
    assert seed_documents(found, "a", []).digest == seed_documents(found, "a", []).digest


def test_names_and_ids_are_the_same_each_time() -> None:
    assert owned_name(machine(), "root") == "bm-root"
    assert port_id(UID, "eth0") == port_id(UID, "eth0")
    assert port_id(UID, "eth0") != port_id(UID, "eth1")
    assert is_label("bm-01")
    assert not is_label("x" * 64)


def test_the_example_of_a_pool_asks_the_seed_for_nothing_that_it_does_not_say() -> None:
    example = Path(__file__).parents[5] / "docs" / "examples" / "pool-kubeadm.yaml"
    text = next(yaml.safe_load_all(example.read_text()))["stringData"]["userData"]
    assert text.startswith("## template: jinja\n#cloud-config\n")
    said = yaml.safe_load(seed_documents(machine(), text, []).meta_data)
    values = {f"ds.meta_data.{key}": value for key, value in said.items()} | {
        "v1.local_hostname": said["local-hostname"]
    }
    rendered = re.sub(r"\{\{ (\S+) \}\}", lambda found: values[found[1]], text)
    [file] = yaml.safe_load(rendered)["write_files"]
    node = yaml.safe_load(file["content"])["nodeRegistration"]
    assert node["name"] == "bm"
    assert node["kubeletExtraArgs"] == [{"name": "provider-id", "value": "dpupool://default/bm"}]
