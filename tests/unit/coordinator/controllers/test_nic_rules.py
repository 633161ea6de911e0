"""NICs of machines beside pods: limits and groups are OVN's, and no address is given to both."""

from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from tests.fakes.plant import Plant, condition, coordinator

RULES = "NicRulesApplied"


def nic(**fields: object) -> Json:
    return {"name": "eth0", "subnetRef": {"name": "lan-v4"}} | fields


async def test_limits_of_a_nic_in_a_network_of_bridges_are_told_to_be_without_effect() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine(nics=[nic(bandwidth={"egressBps": 10_000_000})])
        found = await plant.running()
        assert condition(found, RULES)["status"] == "False"
        assert "eth0 (network lan)" in condition(found, RULES)["message"]
        assert "driver ovn" in condition(found, RULES)["message"]
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"nics": [nic()]}})
        await plant.until(Kind.MACHINE, "bm-01", lambda one: not condition(one, RULES))


async def test_groups_of_a_nic_in_an_ovn_network_are_told_to_be_applied() -> None:
    plant = Plant()
    await plant.furnish()
    await plant.make(Kind.NETWORK, "vpc", {"driver": "ovn"})
    await plant.make(Kind.SUBNET, "vpc-a", {"networkRef": {"name": "vpc"}, "cidr": "10.78.0.0/24"})
    async with coordinator(plant.api, plant):
        await plant.machine(nics=[nic(subnetRef={"name": "vpc-a"}, securityGroups=["db"])])
        found = await plant.until(Kind.MACHINE, "bm-01", lambda one: condition(one, RULES))
        assert condition(found, RULES)["status"] == "True"


def port(name: str, address: str, mac: str = "0a:58:00:00:00:01") -> Json:
    return {
        "podRef": {"name": name, "uid": f"uid-{name}"},
        "node": "node-1",
        "networkRef": {"name": "lan"},
        "subnetRef": {"name": "lan-v4"},
        "mac": mac,
        "addresses": [{"cidr": f"{address}/24"}],
    }


async def test_a_machine_passes_over_addresses_of_pods_and_is_told_whose_they_are() -> None:
    plant = Plant()
    await plant.furnish(3)
    await plant.make(Kind.PORT, "web", port("web", "10.77.0.2"), finalizers=["dpupool.io/port"])
    async with coordinator(plant.api, plant):
        await plant.machine()
        found = await plant.running()
        assert found["status"]["addresses"][0]["address"] == "10.77.0.3"
        subnet = await plant.until(Kind.SUBNET, "lan-v4", lambda one: one.get("status", {}).get("used") == 2)
        assert [line["machine"] for line in subnet["status"]["allocations"]] == ["bm-01"]
        await plant.machine("bm-02", nics=[nic(address="10.77.0.2")])
        refused = await plant.until(
            Kind.MACHINE, "bm-02", lambda one: "belongs to pod default/web" in condition(one).get("message", "")
        )
        assert "spec.nics[0].address" in condition(refused)["message"]
        await plant.machine("bm-03", nics=[nic(address="10.77.0.9", mac="0a:58:00:00:00:01")])
        await plant.until(
            Kind.MACHINE,
            "bm-03",
            lambda one: "MAC address 0a:58:00:00:00:01 belongs" in condition(one).get("message", ""),
        )
        await plant.change(Kind.PORT, "web", {"metadata": {"finalizers": None}})
        await plant.delete(Kind.PORT, "web")
        await plant.until(Kind.MACHINE, "bm-02", lambda one: one["status"].get("addresses"))


async def test_two_subnets_of_a_network_with_the_same_addresses_say_so() -> None:
    plant = Plant()
    await plant.furnish()
    await plant.make(Kind.SUBNET, "again", {"networkRef": {"name": "lan"}, "cidr": "10.77.0.128/25"})
    async with coordinator(plant.api, plant):
        found = await plant.until(Kind.SUBNET, "again", lambda one: condition(one).get("status") == "False")
        assert "subnet lan-v4" in condition(found)["message"]
