"""Networks and subnets: in use while they are deleted, very large, or with their database away."""

import pytest

from coordinator.controllers import network as network_module
from coordinator.controllers.network import IN_USE
from coordinator.core.objects.kinds import Kind
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.plant import Plant, condition, coordinator
from tests.unit.coordinator.controllers.test_nic_rules import port


async def test_a_subnet_and_its_network_go_with_the_last_who_has_an_address() -> None:
    plant = Plant()
    await plant.furnish()
    await plant.make(Kind.PORT, "web", port("web", "10.77.0.2"))
    async with coordinator(plant.api, plant):
        await plant.until(Kind.SUBNET, "lan-v4", lambda one: one["metadata"].get("finalizers") == [IN_USE])
        await plant.until(Kind.NETWORK, "lan", lambda one: one["metadata"].get("finalizers") == [IN_USE])
        await plant.delete(Kind.NETWORK, "lan")
        await plant.delete(Kind.SUBNET, "lan-v4")
        subnet = await plant.until(Kind.SUBNET, "lan-v4", lambda one: condition(one).get("reason") == "InUse")
        assert "pod default/web" in condition(subnet)["message"]
        network = await plant.until(Kind.NETWORK, "lan", lambda one: condition(one).get("reason") == "InUse")
        assert "lan-v4" in condition(network)["message"]
        await plant.delete(Kind.PORT, "web")
        await plant.gone(Kind.SUBNET, "lan-v4")
        await plant.gone(Kind.NETWORK, "lan")


@pytest.mark.parametrize(("kind", "name"), [(Kind.SUBNET, "lan-v4"), (Kind.NETWORK, "lan")])
async def test_a_machine_gets_no_address_of_a_subnet_or_network_that_is_being_deleted(kind: Kind, name: str) -> None:
    plant = Plant()
    await plant.furnish()
    await plant.make(Kind.PORT, "web", port("web", "10.77.0.2"))
    async with coordinator(plant.api, plant):
        await plant.until(kind, name, lambda one: one["metadata"].get("finalizers") == [IN_USE])
        await plant.delete(kind, name)
        await plant.until(kind, name, lambda one: condition(one).get("reason") == "InUse")
        await plant.machine()
        found = await plant.until(
            Kind.MACHINE, "bm-01", lambda one: "subnet lan-v4 does not exist" in condition(one).get("message", "")
        )
        assert not found["status"].get("addresses")


async def test_a_subnet_of_ipv6_alone_is_judged_though_it_has_more_addresses_than_can_be_told() -> None:
    plant = Plant()
    await plant.furnish()
    await plant.make(Kind.SUBNET, "six", {"networkRef": {"name": "lan"}, "cidr": "fd00:18::/64"})
    async with coordinator(plant.api, plant):
        found = await plant.until(Kind.SUBNET, "six", lambda one: condition(one).get("status") == "True")
        assert found["status"]["total"] == 2**53 - 1
        assert found["status"]["probeAddress"] == "fd00:18::ffff:ffff:ffff:ffff"


async def test_a_network_of_ovns_says_that_its_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "RECHECK_S", 0.01)
    plant = Plant()
    await plant.furnish()
    await plant.make(Kind.NETWORK, "vpc", {"driver": "ovn"})
    away: list[DpuError] = []
    async with coordinator(plant.api, plant) as controllers:
        ground = controllers._context.ground
        ground.configured, ground.unreached = True, lambda: away[0] if away else None
        await plant.until(Kind.NETWORK, "vpc", lambda one: condition(one).get("status") == "True")
        away.append(DpuError(Reason.UNAVAILABLE, "nobody listens", remedy="look whether it runs"))
        found = await plant.until(Kind.NETWORK, "vpc", lambda one: condition(one).get("status") == "False")
        assert condition(found)["message"] == "nobody listens (look whether it runs)"
        assert condition(await plant.get(Kind.NETWORK, "lan"))["status"] == "True"
        away.clear()
        await plant.until(Kind.NETWORK, "vpc", lambda one: condition(one).get("status") == "True")
