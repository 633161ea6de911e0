"""Which assignment an ask is for: of its node, pod, network and interface, and nobody else's."""

from dpu_daemon.model.assignment import PodAddress
from dpu_daemon.plan.assigned import match
from tests.fakes.pods import HOST, NODE, ask, assignment


def test_a_pods_assignment_is_found_among_others() -> None:
    known = [assignment(2), assignment(1), assignment(3)]
    assert match(ask(1), NODE, known).assignment == known[1]


def test_without_one_there_is_nothing_to_refuse() -> None:
    assert match(ask(1), NODE, [assignment(2)]) == match(ask(1), NODE, [])
    assert match(ask(1), NODE, []).refusal == ""


def test_one_that_was_taken_back_is_none() -> None:
    assert match(ask(1), NODE, [assignment(1, wanted=False)]).assignment is None


def test_of_several_networks_the_named_one_is_taken_and_else_the_default() -> None:
    default = assignment(1)
    second = assignment(1, port_id="default.pod-1.net1", network="storage", default_network=False, interface="net1")
    known = [second, default]
    assert match(ask(1), NODE, known).assignment == default
    assert match(ask(1, network="storage", interface="net1"), NODE, known).assignment == second
    assert match(ask(1, network="elsewhere"), NODE, known).assignment is None


def test_an_assignment_for_this_interface_goes_before_one_for_any() -> None:
    open_one = assignment(1, port_id="a.any", interface="")
    exact = assignment(1, port_id="z.eth0")
    assert match(ask(1), NODE, [open_one, exact]).assignment == exact
    assert match(ask(1, interface="net1"), NODE, [open_one, exact]).assignment == open_one


def test_of_two_that_fit_one_that_nobody_holds_goes_first() -> None:
    one, two = (assignment(1, port_id=f"default.{name}", interface="") for name in ("a", "b"))
    assert match(ask(1), NODE, [one, two], {"default.a"}).assignment == two
    assert match(ask(1), NODE, [one, two], {"default.a", "default.b"}).assignment == one


def test_a_port_on_another_node_is_refused_by_name() -> None:
    found = match(ask(1), NODE, [assignment(1, node=HOST)])
    assert (found.assignment, found.field) == (None, "pod_name")
    assert found.refusal == "the port of default/pod-1 is assigned to another node"


def test_a_pod_of_the_same_name_may_wait_and_is_remembered_for_the_sentence() -> None:
    found = match(ask(1, pod_uid="new"), NODE, [assignment(1)])
    assert (found.refusal, found.foreign, found.field) == ("", "default/pod-1 with uid uid-1", "pod_uid")
    assert match(ask(1, pod_uid=""), NODE, [assignment(1)]).assignment is not None
    assert match(ask(1), NODE, [assignment(1, pod_uid="")]).assignment is not None


def test_addresses_are_compared_as_addresses() -> None:
    both = assignment(1, addresses=(PodAddress(cidr="10.5.0.3/16"), PodAddress(cidr="fd00::3/64")))
    for asked in (("10.5.0.3",), ("fd00:0:0::3", "10.5.0.3/16"), ()):
        assert match(ask(1, addresses=asked), NODE, [both]).assignment == both
    for asked in (("10.5.0.4",), ("10.5.0.3/24",), ("10.5.0.3", "fd00::4")):
        assert match(ask(1, addresses=asked), NODE, [both]).field == "addresses"
