"""One leader: whoever holds the Lease, until it has not renewed it for as long as it is valid."""

from coordinator.controllers.pool.election import NAME, Election
from coordinator.core.objects.foreign import Foreign
from tests.fakes.objects import MemoryApi


class Clock:
    """Seconds that move when told."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def candidate(api: MemoryApi, name: str, clock: Clock) -> Election:
    return Election(api, name, clock)  # type: ignore[arg-type]


async def test_the_first_to_ask_leads_and_the_second_does_not() -> None:
    api, clock = MemoryApi(), Clock()
    first, second = candidate(api, "a", clock), candidate(api, "b", clock)
    assert await first.campaign()
    assert not await second.campaign()
    assert first.leading
    assert not second.leading


async def test_a_leader_that_cannot_renew_stops_before_another_may_begin() -> None:
    api, clock = MemoryApi(), Clock()
    first, second = candidate(api, "a", clock), candidate(api, "b", clock)
    await first.campaign()
    await second.campaign()
    clock.s += 10.0
    assert not first.leading
    assert not await second.campaign()
    clock.s += 5.0
    assert await second.campaign()
    assert not await first.campaign()


async def test_a_lease_that_is_renewed_stays_taken() -> None:
    api, clock = MemoryApi(), Clock()
    first, second = candidate(api, "a", clock), candidate(api, "b", clock)
    for _ in range(10):
        assert await first.campaign()
        assert not await second.campaign()
        clock.s += 8.0
        await api.patch(Foreign.LEASE, NAME, {"metadata": {"labels": {"beat": str(clock.s)}}}, "default")  # type: ignore[arg-type]


async def test_who_resigns_lets_another_lead_at_once() -> None:
    api, clock = MemoryApi(), Clock()
    first, second = candidate(api, "a", clock), candidate(api, "b", clock)
    await first.campaign()
    await first.resign()
    assert not first.leading
    assert await second.campaign()
    found = await api.get(Foreign.LEASE, NAME, "default")  # type: ignore[arg-type]
    assert found["spec"]["leaseTransitions"] == 2


async def test_resigning_does_not_take_the_lease_from_the_next_leader() -> None:
    api, clock = MemoryApi(), Clock()
    first, second = candidate(api, "a", clock), candidate(api, "b", clock)
    await first.campaign()
    await second.campaign()
    clock.s += 20.0
    assert await second.campaign()
    await first.resign()
    assert await second.campaign()
