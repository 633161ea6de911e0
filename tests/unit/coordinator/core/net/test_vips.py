"""Of Services that ask alike for an address and port the oldest has it, and those hear of it that it matters to."""

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.net.vips import Vip, VipClaims

HTTP, TLS, OTHER = Vip("10.96.0.1", 80, "TCP"), Vip("10.96.0.1", 443, "TCP"), Vip("10.96.0.2", 80, "TCP")


def claims(*asked: tuple[str, str, set[Vip]]) -> VipClaims:
    found = VipClaims()
    for service, created, vips in asked:
        found.claim(service, created, plain(*vips))
    return found


def plain(*vips: Vip) -> dict[Vip, int]:
    """All asked for in the same way."""
    return dict.fromkeys(vips, 1)


def test_the_oldest_has_it_and_of_one_second_the_first_by_name() -> None:
    assert claims(("young", "2", {HTTP}), ("old", "1", {HTTP})).holder(HTTP) == "old"
    assert claims(("b", "1", {HTTP}), ("a", "1", {HTTP})).holder(HTTP) == "a"
    assert claims().holder(HTTP) == ""


def test_who_asks_with_a_lower_rank_goes_before_older_ones_and_they_hear_of_it() -> None:
    found = claims(("old", "1", {HTTP}))
    assert found.claim("young", "2", {HTTP: 0}) == {"old"}
    assert found.holder(HTTP) == "young"
    assert found.claim("young", "2", {HTTP: 2}) == {"old"}
    assert found.holder(HTTP) == "old"


def test_those_hear_of_a_claim_who_ask_for_what_came_or_went() -> None:
    found = claims(("a", "1", {HTTP, TLS}), ("b", "2", {HTTP}), ("c", "3", {TLS}), ("d", "4", {OTHER}))
    assert found.claim("e", "5", plain(HTTP)) == {"a", "b"}
    assert found.claim("e", "5", plain(HTTP)) == set()
    assert found.claim("a", "1", plain(TLS)) == {"b", "e"}
    assert found.claim("a", "1", {}) == {"c"}


def test_a_service_that_was_made_anew_unseen_leaves_what_it_had_to_the_next_one() -> None:
    found = claims(("a", "1", {HTTP}), ("b", "2", {HTTP}))
    assert found.claim("a", "3", plain(HTTP)) == {"b"}
    assert found.holder(HTTP) == "b"


def test_an_address_is_asked_for_by_whoever_asks_for_a_port_of_it() -> None:
    found = claims(("a", "1", {HTTP}), ("b", "2", {TLS}), ("c", "3", {OTHER}))
    assert found.at("10.96.0.1") == {"a", "b"}
    found.claim("a", "1", {})
    assert (found.at("10.96.0.1"), len(found)) == ({"b"}, 2)
    found.claim("b", "2", {})
    assert found.at("10.96.0.1") == set()


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from("123"),
            st.dictionaries(st.sampled_from([HTTP, TLS, OTHER]), st.sampled_from([0, 1])),
        )
    )
)
def test_whoever_gains_or_loses_something_by_a_claim_of_another_hears_of_it(
    steps: list[tuple[str, str, dict[Vip, int]]],
) -> None:
    found = VipClaims()
    for service, created, vips in steps:
        before = {vip: found.holder(vip) for vip in (HTTP, TLS, OTHER)}
        told = found.claim(service, created, vips)
        after = {vip: found.holder(vip) for vip in before}
        moved = {one for vip in before if before[vip] != after[vip] for one in (before[vip], after[vip])}
        assert moved - {"", service} <= told
