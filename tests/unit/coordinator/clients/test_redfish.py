"""Redfish by stock sushy, against a service on loopback."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from coordinator.clients.model import BmcEndpoint, Credentials, PowerAction
from coordinator.clients.redfish import RedfishBmc
from coordinator.core.objects.fleet import PowerState
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.redfish import FakeRedfish, serving


@pytest.fixture
async def service() -> AsyncIterator[FakeRedfish]:
    async with serving() as fake:
        yield fake


@pytest.fixture
async def bmc(service: FakeRedfish) -> AsyncIterator[RedfishBmc]:
    with ThreadPoolExecutor(2) as threads:
        made = client(service.address, threads)
        yield made
        await made.close()


def client(address: str, threads: ThreadPoolExecutor, password: str = "secret") -> RedfishBmc:  # noqa: S107  (of the stand-in)
    credentials = Credentials(username="admin", password=password)
    return RedfishBmc(BmcEndpoint(address=address, credentials=credentials, secret="sys/bmc"), None, threads)


async def test_power_is_read_anew_each_time(service: FakeRedfish, bmc: RedfishBmc) -> None:
    assert await bmc.power() is PowerState.OFF
    service.on = True
    assert await bmc.power() is PowerState.ON


async def test_power_is_changed(service: FakeRedfish, bmc: RedfishBmc) -> None:
    for action in (PowerAction.ON, PowerAction.SHUT_DOWN, PowerAction.FORCE_OFF):
        await bmc.act(action)
    assert service.resets == ["On", "GracefulShutdown", "ForceOff"]


async def test_the_first_boot_device_becomes_the_disk(service: FakeRedfish, bmc: RedfishBmc) -> None:
    await bmc.boot_from_disk()
    assert service.boot == {"BootSourceOverrideTarget": "Hdd", "BootSourceOverrideEnabled": "Continuous"}


@pytest.mark.parametrize("offered", [[], ["None", "Pxe"]])
async def test_a_service_that_offers_no_disk_is_left_as_it_is(
    service: FakeRedfish, bmc: RedfishBmc, offered: list[str]
) -> None:
    service.boot_targets = offered
    await bmc.boot_from_disk()
    assert service.boot == {} or offered == []


async def test_vendor_and_uuid_are_told(bmc: RedfishBmc) -> None:
    found = await bmc.identity()
    assert (found.vendor, found.system_uuid) == ("ACME", "9c0b6f0e-5d0c-4f9e-9b39-0d6a3e0a7c11")


async def test_a_wrong_password_names_the_secret(service: FakeRedfish, bmc: RedfishBmc) -> None:
    service.password = "another"
    with pytest.raises(DpuError) as caught:
        await bmc.power()
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert caught.value.field == "spec.bmc.credentialsSecretRef"
    assert "sys/bmc" in caught.value.remedy
    assert "secret" not in caught.value.message.replace("sys/bmc", "")


async def test_a_system_that_is_not_there_names_the_address(service: FakeRedfish) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(DpuError) as caught:
        await client(service.address + "-two", threads).power()
    assert (caught.value.reason, caught.value.field) == (Reason.NOT_FOUND, "spec.bmc.address")


async def test_nobody_there_is_told_at_once_and_may_be_tried_again() -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(DpuError) as caught:
        await client("redfish+http://127.0.0.1:9/redfish/v1/Systems/one", threads).power()
    assert caught.value.reason is Reason.UNAVAILABLE
    assert caught.value.retry
    address = "redfish+http://127.0.0.1:9/redfish/v1/Systems/one"
    assert caught.value.message == f"BMC {address} does not answer: Connection refused"
    assert "reachable" in caught.value.remedy


async def test_a_fault_of_the_service_is_asked_twice_and_not_ten_times(service: FakeRedfish, bmc: RedfishBmc) -> None:
    await bmc.power()
    service.requests.clear()
    service.failures = 1000
    with pytest.raises(DpuError) as caught:
        await bmc.power()
    assert caught.value.reason is Reason.UNAVAILABLE
    assert len(service.requests) == 2


async def test_the_session_is_used_again_and_made_anew_after_a_failure(service: FakeRedfish, bmc: RedfishBmc) -> None:
    await bmc.power()
    service.requests.clear()
    await bmc.power()
    assert service.requests == [("GET", "/redfish/v1/Systems/one")]
    service.password = "other"
    with pytest.raises(DpuError):
        await bmc.power()
    service.password = "secret"
    assert await bmc.power() is PowerState.OFF
