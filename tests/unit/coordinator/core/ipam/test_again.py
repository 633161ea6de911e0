"""What a container has is given again whatever its subnet says by now, unless it is another's."""

from dataclasses import replace
from typing import Any

import pytest

from coordinator.core.ipam.again import give_again
from coordinator.core.ipam.choice import PortRequest
from coordinator.core.ipam.pods import give
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.core.ipam.test_pod_addresses import Stage, subnet

MAC = "02:00:00:00:00:07"
HAD: dict[str, Any] = {"subnet": "a", "addresses": ("10.1.0.7",), "mac": MAC}


def asked(stage: Stage, **changed: Any) -> PortRequest:
    return stage.request("web", **(HAD | changed))


def refusal(stage: Stage, **changed: Any) -> DpuError:
    with pytest.raises(DpuError) as caught:
        give_again(stage.book, asked(stage, **changed), stage.segments)
    return caught.value


def test_neither_reserved_ranges_nor_pools_nor_claims_nor_a_further_family_change_what_a_container_has() -> None:
    pools = [{"name": "few", "ranges": ["10.1.0.6-10.1.0.8"]}]
    strict = subnet("a", "10.1.0.0/24", cidrV6="fd00:1::/64", reserved=["10.1.0.9"], pools=pools, namespaces=["x"])
    given = give_again(Stage(strict).book, asked(Stage(strict)), Stage(strict).segments)
    assert (given.subnet, given.mac, [str(one) for one in given.addresses]) == ("a", MAC, ["10.1.0.7"])
    assert [one.json() for one in given.with_gateways] == [{"cidr": "10.1.0.7/24"}]


def test_what_somebody_else_has_by_now_is_not_given() -> None:
    stage = Stage(subnet("a", "10.1.0.0/24", gateway="10.1.0.1"))
    stage.give("thief", addresses=("10.1.0.7",))
    assert "belongs to pod default/thief" in refusal(stage).message
    assert refusal(stage, addresses=("10.1.0.1",)).reason is Reason.INVALID
    stage.give("other", mac=MAC)
    assert "belongs to pod default/other" in refusal(stage, addresses=("10.1.0.9",)).message


def test_without_its_subnet_or_outside_of_it_there_is_nothing_to_give() -> None:
    stage = Stage(subnet("a", "10.1.0.0/24"))
    assert refusal(stage, subnet="gone").reason is Reason.NOT_FOUND
    assert refusal(stage, addresses=("10.2.0.7",)).reason is Reason.INVALID


def test_an_exact_request_gets_no_further_family() -> None:
    stage = Stage(subnet("a", "10.1.0.0/24", cidrV6="fd00:1::/64"))
    exact = replace(asked(stage), exact=True)
    assert [str(one) for one in give(stage.book, exact, stage.segments).addresses] == ["10.1.0.7"]
