"""What of policies, groups and Services is not as it was written is said on them, once."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from coordinator.controllers.events import Recorder
from coordinator.controllers.net.complaints import Complaints
from coordinator.controllers.net.context import NetApi, NetContext
from coordinator.controllers.net.mirrors import NetMirrors
from coordinator.controllers.net.ovn_feed import OvnFeed
from coordinator.core.net.store import Owner
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, Metadata

SHOP = "shop"
MACHINE = "7c1c3c5e-0f1f-4a58-9d7b-0f8a4d2a9f01"


class Told(Recorder):
    """Events as sentences."""

    def __init__(self) -> None:
        super().__init__(cast("Any", None), lambda: datetime(2026, 1, 1, tzinfo=UTC))
        self.said: list[str] = []

    def tell(self, kind: Kind | Foreign, meta: Metadata, reason: str, message: str, *, warning: bool = False) -> None:
        assert warning
        self.said.append(f"{kind.value} {meta.key} {reason}: {message}")


class Stage:
    """A feed whose owners are compiled as soon as they are told of."""

    def __init__(self) -> None:
        self.events = Told()
        api = cast("NetApi", None)
        self.context = NetContext(
            api=api,
            mirrors=NetMirrors(api),
            events=self.events,
            clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            outside=None,
        )
        self._owners: list[Owner] = []
        self._feed = OvnFeed(self.context, self._dirty)
        self._versions = 0

    def put(self, kind: Foreign | Kind, name: str, **body: Any) -> None:
        self._versions += 1
        metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(self._versions)}
        metadata |= {"namespace": SHOP} if kind.namespaced else {}
        found: Json = {"metadata": metadata} | body
        if isinstance(kind, Foreign):
            self.context.mirrors.absorb(kind, found)
        else:
            self.context.caches.by_kind[kind].absorb(found)
        for owner_kind, key in self._owners:
            list(self._feed.compilers[owner_kind](key))
        self._owners.clear()

    def without_templates(self) -> None:
        """OVN is one before 22.12."""
        self._feed.templates(False)

    def said(self) -> list[str]:
        found, self.events.said = self.events.said, []
        return found

    def _dirty(self, owners: Iterable[Owner]) -> None:
        self._owners += owners


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_policy_that_denies_because_it_cannot_be_read_says_so_once_and_again_when_it_is_worded_anew(
    stage: Stage,
) -> None:
    bad: Json = {"podSelector": {}, "ingress": [{"from": [{}]}]}
    stage.put(Foreign.NETWORK_POLICY, "p", spec=bad)
    (said,) = stage.said()
    assert said.startswith("NetworkPolicy shop/p DeniedAsUnreadable: spec.ingress[0].from[0]: the peer says nothing")
    stage.put(Foreign.NETWORK_POLICY, "p", spec=bad | {"policyTypes": ["Ingress"], "egress": []})
    assert stage.said() == []
    stage.put(Foreign.NETWORK_POLICY, "p", spec={"podSelector": {}})
    assert stage.said() == []
    stage.put(Foreign.NETWORK_POLICY, "p", spec=bad)
    assert len(stage.said()) == 1


def test_a_service_says_what_is_otherwise_than_it_asks(stage: Stage) -> None:
    stage.without_templates()
    spec = {"clusterIP": "10.96.0.1", "ports": [{"port": 80}], "internalTrafficPolicy": "Local"}
    stage.put(Foreign.SERVICE, "web", spec=spec)
    (said,) = stage.said()
    assert said.startswith("Service shop/web ServedDifferently: spec.internalTrafficPolicy")


def test_an_address_that_a_service_may_not_have_is_told_with_the_field_and_what_to_do(stage: Stage) -> None:
    stage.without_templates()
    stage.put(Kind.NETWORK, "pods", spec={"driver": "ovn"})
    stage.put(Kind.SUBNET, "front", spec={"networkRef": {"name": "pods"}, "cidr": "10.0.0.0/24"})
    spec = {"clusterIP": "10.0.0.9", "ports": [{"port": 80}, {"port": 443}], "internalTrafficPolicy": "Local"}
    stage.put(Foreign.SERVICE, "web", spec=spec)
    different, refused = sorted(stage.said())
    assert "ServedDifferently" in different
    assert refused.startswith("Service shop/web ServiceAddressRefused: spec.clusterIPs: 10.0.0.9 is not served")
    assert "(use an address outside of the subnets" in refused
    stage.put(Foreign.SERVICE, "web", spec=spec)
    assert stage.said() == []


def test_a_group_says_what_of_it_cannot_be_read(stage: Stage) -> None:
    stage.put(Kind.SECURITY_GROUP, "g", spec={"ingress": [{"peers": [{}]}]})
    (said,) = stage.said()
    assert said.startswith("SecurityGroup shop/g DeniedAsUnreadable: spec.ingress[0].peers[0]")


def test_a_pod_that_names_a_group_which_is_not_there_is_told_why_nothing_passes(stage: Stage) -> None:
    stage.put(Foreign.POD, "web", spec={}, status={"phase": "Running"})
    spec = {
        "podRef": {"name": "web", "uid": "uid-web"},
        "node": "n1",
        "networkRef": {"name": "pods"},
        "subnetRef": {"name": "front"},
        "mac": "02:00:00:00:00:01",
        "addresses": [{"cidr": "10.0.0.5/24"}],
        "securityGroups": ["lost"],
    }
    stage.put(Kind.PORT, "web-x", spec=spec)
    (said,) = stage.said()
    assert said.startswith("Pod shop/web SecurityGroupMissing: security group lost is not there")


def test_a_machine_is_told_once_of_each_group_that_is_not_there(stage: Stage) -> None:
    nics = [{"name": "eth0", "subnetRef": {"name": "front"}, "securityGroups": ["lost", "gone"]}]
    for version in ("101", "102", "103"):
        known = {"name": "m", "namespace": SHOP, "uid": MACHINE, "resourceVersion": version}
        labels = {"labels": {"version": version}}
        stage.put(Kind.MACHINE, "m", metadata=known | labels, spec={"image": "x", "nics": nics})
    said = [one for one in stage.events.said if "SecurityGroupMissing" in one]
    begins = "BareMetalMachine shop/m SecurityGroupMissing: security group"
    assert sorted(one.partition(" is not there")[0] for one in said) == [f"{begins} gone", f"{begins} lost"]


def test_two_groups_that_are_not_there_are_not_told_in_turns() -> None:
    events = Told()
    complaints = Complaints(events)
    meta = Metadata.parse({"name": "m", "namespace": SHOP, "uid": MACHINE})
    for group in ("lost", "gone", "lost", "gone"):
        complaints.machine(meta, group)
    assert len(events.said) == 2
