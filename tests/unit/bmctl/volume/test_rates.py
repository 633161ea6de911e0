from bmctl.commands.volume.rates import Counters, counters, mean, rates, totals


def test_rates_and_mean_latencies_are_those_between_two_readings() -> None:
    before = Counters(read_ops=10, read_bytes=1 << 20, read_latency_us=1000)
    now = Counters(read_ops=30, read_bytes=5 << 20, read_latency_us=41_000, failed_ops=1)
    step = now.since(before)
    assert step is not None
    cells = rates(step, 2.0)
    assert cells[:3] == ["10", "2 MiB", "2.0 ms"]
    assert cells[-1] == "1"


def test_a_disk_that_was_connected_anew_has_no_rate() -> None:
    assert Counters(read_ops=1).since(Counters(read_ops=2)) is None


def test_counters_of_the_wire_are_found_by_their_names() -> None:
    assert counters({"counters": {"unmapBytes": 7, "writeLatencyUs": 3}}) == Counters(unmap_bytes=7, write_latency_us=3)


def test_what_is_not_measured_is_not_told() -> None:
    assert mean(0, 5) == "-"
    assert mean(5, 0) == "-"
    assert [mean(total, 1) for total in (999, 1500, 2_500_000)] == ["999 us", "1.5 ms", "2.5 s"]
    assert totals(Counters(write_ops=2, write_bytes=2048))[1] == ["write", "2", "2 KiB", "-"]
