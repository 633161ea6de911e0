from typing import Any

from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.resize.pods import changed_at, sizes_of
from coordinator.core.resize.usage import GroupDelta
from tests.fakes.resizing import SizedSite, until

RULE = {"minimum": "200m", "maximum": "4", "raiseAfterSeconds": 1, "raisePauseSeconds": 3}


async def a_site(*policies: tuple[str, Json]) -> SizedSite:
    site = SizedSite()
    site.host("n1")
    await site.add_node("n1")
    for name, spec in policies:
        await site.api.create(Kind.RESIZE_POLICY, {"metadata": {"name": name, "namespace": "default"}, "spec": spec})
    return site


def busy(uid: str, cpu_us: int, **more: Any) -> GroupDelta:
    return GroupDelta(index=1, pod_uid=uid, container_id="web-id", changed={"cpu_usage_us": cpu_us} | more)


def limit(site: SizedSite) -> int:
    return sizes_of(site.stored("web"))["main"].cpu_limit_milli


def status(site: SizedSite, policy: str) -> Json:
    found: Json = site.api.objects[Kind.RESIZE_POLICY, "default", policy].get("status", {})
    return found


async def test_a_container_at_its_limit_grows_within_two_samples_and_the_pod_says_when() -> None:
    site = await a_site(("grow", {"selector": {"matchLabels": {"app": "web"}}, "cpu": RULE}))
    uid = await site.pod("web")
    host = site.host("n1")
    async with site.resizing() as resizes:
        await until(lambda: resizes.scaler.pods_of("default/grow"))
        for at in range(4):
            await host.tell_and_wait(busy(uid, at * 950_000), full=at == 0)
        await until(lambda: limit(site) > 1000)
        assert changed_at(site.stored("web"))["main/cpu"] > 0
        assert host.sizes[uid].containers[0].cpu_limit_milli == limit(site) == 1583
        await until(lambda: status(site, "grow").get("pods") == 1)
        await until(lambda: status(site, "grow").get("containers"))
    assert "cpu in use" in status(site, "grow")["containers"][0]["message"]


async def test_the_pause_after_a_change_holds_for_a_coordinator_that_was_started_anew() -> None:
    site = await a_site(("grow", {"selector": {}, "cpu": RULE | {"raisePauseSeconds": 1000}}))
    uid = await site.pod("web")
    host = site.host("n1")
    async with site.resizing() as resizes:
        await until(lambda: resizes.scaler.pods_of("default/grow"))
        for at in range(4):
            await host.tell_and_wait(busy(uid, at * 950_000), full=at == 0)
        await until(lambda: limit(site) > 1000)
    raised = limit(site)
    async with site.resizing() as resizes:
        await until(lambda: resizes.scaler.pods_of("default/grow"))
        for at in range(6):
            await host.tell_and_wait(busy(uid, 10_000_000 + at * 2_000_000), full=at == 0)
        rests = resizes.scaler._sentences
        await until(lambda: any("rests for 1000 s" in says for kept in rests.values() for says in kept.values()))
    assert limit(site) == raised


async def test_two_policies_on_one_pod_are_refused_and_both_say_so() -> None:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "cpu": RULE}
    site = await a_site(("one", spec), ("two", spec))
    uid = await site.pod("web")
    async with site.resizing():
        for at in range(5):
            await site.host("n1").tell_and_wait(busy(uid, at * 1_000_000), full=at == 0)
        await until(lambda: status(site, "one").get("conditions") and status(site, "two").get("conditions"))
        await until(lambda: status(site, "one")["conditions"][0]["status"] == "False")
    assert "also selected by default/two; neither scales it" in status(site, "one")["conditions"][0]["message"]
    assert limit(site) == 1000


async def test_a_rule_that_makes_no_sense_is_told_with_its_field() -> None:
    site = await a_site(("odd", {"selector": {}, "cpu": RULE | {"raiseAt": 0.2}}))
    async with site.resizing():
        await until(lambda: status(site, "odd").get("conditions"))
    condition = status(site, "odd")["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("False", "Invalid")
    assert "lowerAt" in condition["message"]
