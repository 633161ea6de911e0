import ssl

import pytest

from coordinator.endpoints.bmc import console_of, console_url
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.endpoints.fakes import FakeObjects, a_machine

HTTPS = "redfish+https://10.0.0.9:8443/redfish/v1/Systems/1"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (HTTPS, "wss://10.0.0.9:8443/console"),
        ("redfish://bmc-1/redfish/v1/Systems/1", "wss://bmc-1/console"),
        ("redfish+http://127.0.0.1:8000/redfish/v1/Systems/1", "ws://127.0.0.1:8000/console"),
    ],
)
def test_the_console_is_beside_redfish(address: str, url: str) -> None:
    assert console_url(address) == url


async def test_a_bmc_is_checked_with_the_systems_authorities_by_default() -> None:
    console = await console_of(FakeObjects(address=HTTPS), a_machine())
    assert console.tls is not None
    assert console.tls.verify_mode is ssl.CERT_REQUIRED
    assert console.tls.check_hostname


async def test_the_check_can_be_turned_off_for_a_first_test() -> None:
    objects = FakeObjects(address=HTTPS)
    objects.bmc["disableCertificateVerification"] = True
    console = await console_of(objects, a_machine())
    assert console.tls is not None
    assert console.tls.verify_mode is ssl.CERT_NONE


async def test_an_authority_that_is_none_is_named() -> None:
    objects = FakeObjects(address=HTTPS)
    objects.bmc["caSecretRef"] = {"namespace": "infra", "name": "ca"}
    objects.secrets["ca"] = {"ca.crt": b"not PEM"}
    with pytest.raises(DpuError) as caught:
        await console_of(objects, a_machine())
    assert caught.value.field == "spec.bmc.caSecretRef"


async def test_a_secret_without_password_is_named() -> None:
    objects = FakeObjects(address=HTTPS)
    del objects.secrets["bmc"]["password"]
    with pytest.raises(DpuError) as caught:
        await console_of(objects, a_machine())
    assert caught.value.reason is Reason.INVALID
    assert "password" in str(caught.value)


async def test_credentials_are_not_shown_by_errors_or_urls() -> None:
    console = await console_of(FakeObjects(address=HTTPS), a_machine())
    assert "calvin" not in console.url
