import pytest

from coordinator.core.cpu.ioqueues import QueueMap, accept_update, parse_queue_map, render_queue_map
from proto.cpuset import mask_of
from proto.errors import DpuError
from proto.reasons import Reason

FOUR = mask_of(range(4))


def test_a_map_is_read_and_written() -> None:
    queues = parse_queue_map('{"1": "2-3", "0": "0-1"}', FOUR)
    assert queues.by_cpu == {0: 0, 1: 0, 2: 1, 3: 1}
    assert render_queue_map(queues) == '{"0":"0-1","1":"2-3"}'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no JSON"),
        ("[]", "no JSON object"),
        ("{}", "at least one queue"),
        ('{"a": "0-3"}', "queue 'a', which is no number"),
        ('{"0": "0-3", "00": "1"}', "queue 0 twice"),
        ('{"0": [0, 1, 2, 3]}', "not a list of CPUs"),
        ('{"0": "0-x"}', "is not a list of CPUs"),
        ('{"0": "0-2", "1": "2-3"}', "CPU 2 two queues"),
        ('{"0": "0-4"}', "CPU 4, which the node does not have"),
        ('{"0": "0-2"}', "no queue for CPU 3"),
    ],
)
def test_a_wrong_map_is_refused_by_the_annotations_name(text: str, sentence: str) -> None:
    with pytest.raises(DpuError) as refused:
        parse_queue_map(text, FOUR)
    assert refused.value.reason is Reason.INVALID
    assert sentence in refused.value.message
    assert refused.value.field.startswith("metadata.annotations[dpupool.io/io-queues]")


def test_a_map_may_grow() -> None:
    old, new = QueueMap({0: 0b11}), QueueMap({0: 0b0111, 1: 0b1000})
    assert accept_update(old, new) is new


@pytest.mark.parametrize(
    ("new", "sentence"),
    [({0: 0b01}, "no longer names CPU 1"), ({0: 0b01, 1: 0b10}, "moves CPU 1 from queue 0 to 1")],
)
def test_a_map_that_shrinks_or_moves_a_queue_is_refused(new: dict[int, int], sentence: str) -> None:
    with pytest.raises(DpuError) as refused:
        accept_update(QueueMap({0: 0b11}), QueueMap(new))
    assert sentence in refused.value.message
