import pytest

from coordinator.endpoints.callers import Caller
from coordinator.endpoints.delegated import KEPT_S, Delegated, Kept
from coordinator.endpoints.objects import Object
from coordinator.endpoints.subresources import Action, Call
from proto.errors import DpuError
from proto.reasons import Reason

STOP = Call("PUT", "default", "bm-01", Action.STOP)
ADA = Caller("ada", ("ops",), extra={"scope": ("a",)})


class FakeReviews:
    """Knows one token, and lets the group ops stop machines."""

    def __init__(self) -> None:
        self.asked: list[Object] = []

    async def create(self, group: str, resource: str, review: Object) -> Object:
        self.asked.append(review)
        if resource == "tokenreviews":
            if review["token"] != "good":
                return {"status": {"authenticated": False}}
            return {"status": {"authenticated": True, "user": {"username": "ada", "groups": ["ops"]}}}
        attributes = review["resourceAttributes"]
        allowed = "ops" in review["groups"] and (attributes["verb"], attributes["subresource"]) == ("update", "stop")
        return {"status": {"allowed": allowed, "reason": "" if allowed else "no rule"}}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_good_token_tells_who_calls() -> None:
    caller = await Delegated(FakeReviews()).authenticate("good")
    assert (caller.name, caller.groups) == ("ada", ("ops",))


async def test_a_bad_token_is_refused_each_time_anew() -> None:
    reviews = FakeReviews()
    delegated = Delegated(reviews)
    for _ in range(2):
        with pytest.raises(DpuError) as caught:
            await delegated.authenticate("bad")
        assert caught.value.reason is Reason.UNAUTHENTICATED
    assert len(reviews.asked) == 2


async def test_a_right_is_asked_for_by_verb_resource_and_subresource() -> None:
    reviews = FakeReviews()
    await Delegated(reviews).authorize(ADA, STOP)
    assert reviews.asked[0]["resourceAttributes"] == {
        "group": "subresources.dpupool.io", "version": "v1alpha1", "resource": "baremetalmachines",
        "subresource": "stop", "verb": "update", "namespace": "default", "name": "bm-01",
    }  # fmt: skip
    assert reviews.asked[0]["extra"] == {"scope": ["a"]}


async def test_a_refusal_says_who_may_not_do_what() -> None:
    with pytest.raises(DpuError) as caught:
        await Delegated(FakeReviews()).authorize(Caller("bob"), STOP)
    assert caught.value.reason is Reason.FORBIDDEN
    assert 'User "bob" cannot update resource "baremetalmachines/stop"' in caught.value.message


async def test_the_right_to_stop_is_no_right_to_the_console() -> None:
    with pytest.raises(DpuError):
        await Delegated(FakeReviews()).authorize(ADA, Call("GET", "default", "bm-01", Action.CONSOLE))


async def test_verdicts_are_believed_for_seconds_only() -> None:
    reviews, clock = FakeReviews(), Clock()
    delegated = Delegated(reviews, clock)
    await delegated.authorize(ADA, STOP)
    await delegated.authorize(ADA, STOP)
    assert len(reviews.asked) == 1
    clock.now += KEPT_S + 1
    await delegated.authorize(ADA, STOP)
    assert len(reviews.asked) == 2


async def test_one_callers_verdict_is_not_anothers() -> None:
    delegated = Delegated(FakeReviews())
    await delegated.authorize(ADA, STOP)
    with pytest.raises(DpuError):
        await delegated.authorize(Caller("ada"), STOP)


def test_kept_answers_do_not_grow_without_end() -> None:
    kept: Kept[int] = Kept(Clock())
    for number in range(5000):
        kept.put(number, number, 10)
    assert kept.get(0) is None
    assert kept.get(4999) == 4999
