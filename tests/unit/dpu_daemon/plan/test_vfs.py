import pytest

from dpu_daemon.model.assignment import Holder, Sandbox
from dpu_daemon.model.vf import VfDevice, VfSeen
from dpu_daemon.plan.vfs import choose_vf, countable, faults_of, held, judge, prefer, refuse_none_usable
from proto.errors import DpuError
from proto.reasons import Reason

ME = Holder("me", "eth0")


def vf(number: int, **more: object) -> VfSeen:
    fields: dict[str, object] = {"netdev": f"ens1f0v{number}", "pci_address": f"0000:03:00.{number + 2}", "driver": "x"}
    return VfSeen(vf=number, **(fields | more))  # type: ignore[arg-type]


def box(number: int, container: str = "c1", **more: object) -> Sandbox:
    fields: dict[str, object] = {"interface": "net1", "netns": "/n", "network": "n", "pod": "shop/web", "vf": number}
    return Sandbox(container_id=container, **(fields | more))  # type: ignore[arg-type]


SEEN = {number: vf(number) for number in range(4)}


def refusal(asked: str, seen: dict[int, VfSeen], *boxes: Sandbox) -> DpuError:
    with pytest.raises(DpuError) as raised:
        choose_vf(asked, seen, boxes, ME)
    return raised.value


@pytest.mark.parametrize("asked", ["0000:03:00.3", "03:00.3", " 0000:03:00.3", "vf1"])
def test_a_function_is_found_by_every_name_that_a_runtime_may_give_it(asked: str) -> None:
    assert choose_vf(asked, SEEN, ()).vf == 1


def test_an_emulated_function_is_found_by_its_index() -> None:
    assert choose_vf("vf7", {7: VfSeen(vf=7, netdev="vf7")}, ()).device_id == "vf7"


def test_a_function_that_another_has_is_refused_naming_who() -> None:
    error = refusal("0000:03:00.3", SEEN, box(1, "0123456789abcdef"))
    assert error.reason is Reason.IN_USE
    assert error.message == "function 0000:03:00.3 is held by shop/web, container 0123456789ab (net1)"
    assert error.field == "deviceID"
    assert error.retry


def test_a_function_that_is_being_taken_back_is_still_held() -> None:
    assert refusal("vf1", SEEN, box(1, wanted=False)).reason is Reason.IN_USE


def test_who_has_a_function_already_gets_it_again() -> None:
    assert choose_vf("vf1", SEEN, (box(1, "me", interface="eth0"),), ME).vf == 1


def test_an_unknown_function_is_refused_with_those_that_there_are() -> None:
    many = {number: VfSeen(vf=number, netdev=f"vf{number}") for number in range(10)}
    error = refusal("0000:ff:00.1", many)
    assert error.reason is Reason.NOT_FOUND
    assert error.message.startswith("this host has no function 0000:ff:00.1; it has vf0, vf1,")
    assert error.message.endswith("vf7 and 2 more")
    assert "it has none" in refusal("vf1", {}).message


def test_a_function_with_a_fault_is_refused_with_that_fault() -> None:
    error = refusal("vf1", {1: vf(1, fault="physical function ens1f0 is down")})
    assert (error.reason, error.message) == (Reason.UNAVAILABLE, "physical function ens1f0 is down")


def test_who_names_none_gets_the_last_that_is_nobodys() -> None:
    seen = SEEN | {3: vf(3, counted=True), 2: vf(2, fault="gone")}
    assert choose_vf("", seen, (box(0),)).vf == 1


def test_functions_of_user_space_go_only_to_who_names_them() -> None:
    seen = {0: vf(0, netdev="", driver="vfio-pci")}
    assert choose_vf("vf0", seen, ()).is_userspace
    assert refusal("", seen).reason is Reason.EXHAUSTED


def test_with_none_left_the_refusal_says_where_they_are() -> None:
    seen = {0: vf(0), 1: vf(1, counted=True), 2: vf(2, fault="gone")}
    error = refusal("", seen, box(0))
    assert error.reason is Reason.EXHAUSTED
    assert "1 of 3 functions are held by containers, 1 kept by kubelet, 1 at fault" in error.message


def test_a_missing_network_device_is_a_fault_only_when_no_container_has_it() -> None:
    seen = {0: vf(0, netdev=""), 1: vf(1, netdev=""), 2: vf(2, netdev="", driver="vfio-pci"), 3: vf(3)}
    judged = judge(seen, (box(1),))
    assert [bool(judged[number].fault) for number in range(4)] == [True, False, False, False]
    assert judged[0].fault == "function 0000:03:00.2 has no network device"


def test_a_veth_holds_no_function() -> None:
    assert held((box(-1), box(2))).keys() == {2}


def test_kubelet_may_not_count_on_a_function_that_was_given_without_it() -> None:
    devices = countable(SEEN, (box(0), box(1, device_id="0000:03:00.3")))
    assert [device.device_id for device in devices] == [f"0000:03:00.{n}" for n in range(2, 6)]
    assert [bool(device.fault) for device in devices] == [True, False, False, False]
    assert "shop/web" in devices[0].fault


def nodes(text: str) -> list[VfDevice]:
    return [VfDevice(device_id=f"d{number}", numa_node=int(node)) for number, node in enumerate(text)]


@pytest.mark.parametrize(
    ("layout", "without", "must", "size", "chosen"),
    [
        ("0101", (), (), 2, ("d0", "d2")),
        ("0001", (), (), 1, ("d3",)),
        ("00111", (), (), 3, ("d2", "d3", "d4")),
        ("00111", (), (), 4, ("d2", "d3", "d4", "d0")),
        ("0101", (), ("d1",), 2, ("d1", "d3")),
        ("0101", ("d3",), ("d1",), 3, ("d1", "d0", "d2")),
        ("0101", ("d0",), (), 2, ("d1", "d3")),
        ("01", (), (), 5, ("d0", "d1")),
        ("01", (), ("d0", "d1"), 1, ("d0",)),
        ("01", (), (), 0, ()),
    ],
)
def test_functions_are_preferred_near_each_other_and_packed(
    layout: str, without: tuple[str, ...], must: tuple[str, ...], size: int, chosen: tuple[str, ...]
) -> None:
    devices = nodes(layout)
    available = [device.device_id for device in devices if device.device_id not in without]
    assert prefer(devices, available, must, size) == chosen


@pytest.mark.parametrize(
    ("seen", "says"), [({}, "there is none"), ({0: vf(0, fault="ens1f0 is down")}, "ens1f0 is down")]
)
def test_a_host_without_any_function_that_works_is_told_so(seen: dict[int, VfSeen], says: str) -> None:
    with pytest.raises(DpuError, match=says) as raised:
        refuse_none_usable(seen)
    assert raised.value.reason is Reason.UNAVAILABLE


def test_one_function_that_works_is_enough() -> None:
    refuse_none_usable({0: vf(0, fault="it has no driver"), 1: vf(1)})


def test_a_function_without_a_device_is_looked_at_by_its_faults() -> None:
    assert faults_of(1, SEEN) == ()
    assert faults_of(1, {1: vf(1, fault="it has no driver")}) == ("it has no driver",)
    assert faults_of(9, SEEN) == ("function 9 of this host is gone",)
