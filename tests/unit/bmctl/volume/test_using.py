import json

import pytest

from tests.unit.bmctl.stage import Stage
from tests.unit.bmctl.volume.things import GIB, attachment, host, names, put, read, ready, tell, volume


def test_attach_waits_and_says_where_the_disk_is(stage: Stage) -> None:
    volume(stage)
    host(stage)
    shown = {"phase": "Attached", "serial": "S1", "slot": 3, "dpu": "dpu-1"}
    actor = stage.soon(lambda: tell(stage, "VolumeAttachment", "data-host-1", shown))
    said = stage.ok("volume", "attach", "data", "host-1", "--read-only", "--protocol", "nvme", "--wait")
    actor.join()
    assert said == "volume/data attached to host-1: serial S1, slot 3 of dpu-1\n"
    spec = read(stage, "VolumeAttachment", "data-host-1")["spec"]
    assert (spec["readOnly"], spec["protocol"]) == (True, "nvme")


def test_attach_can_be_repeated_but_not_changed(stage: Stage) -> None:
    volume(stage)
    host(stage)
    stage.ok("volume", "attach", "data", "host-1")
    stage.ok("volume", "attach", "data", "host-1")
    assert "bmctl volume detach data" in stage.fails(4, "volume", "attach", "data", "host-1", "--read-only")


def test_attach_names_the_end_that_is_not_there(stage: Stage) -> None:
    assert "no volume data in namespace default" in stage.fails(3, "volume", "attach", "data", "host-1")
    volume(stage)
    assert "no host host-1" in stage.fails(3, "volume", "attach", "data", "host-1")


def test_a_refused_attachment_ends_the_wait_with_its_sentence(stage: Stage) -> None:
    volume(stage)
    host(stage)
    bad = {"phase": "Failed", "conditions": [ready("volume data is attached by other to host host-2", "InUse")]}
    actor = stage.soon(lambda: tell(stage, "VolumeAttachment", "data-host-1", bad))
    complaint = stage.fails(4, "volume", "attach", "data", "host-1", "--wait")
    actor.join()
    assert "attached by other to host host-2" in complaint


def test_detach_takes_the_only_attachment_or_the_one_that_is_named(stage: Stage) -> None:
    volume(stage)
    assert "bmctl volume attach data HOST" in stage.fails(3, "volume", "detach", "data")
    attachment(stage, host="host-1")
    attachment(stage, host="host-2")
    assert "name the host" in stage.fails(4, "volume", "detach", "data")
    assert "not attached to host-3" in stage.fails(3, "volume", "detach", "data", "host-3")
    assert stage.ok("volume", "detach", "data", "host-2", "--wait") == "volume/data detached from host-2\n"
    assert names(stage, "VolumeAttachment") == ["data-host-1"]


def test_a_machines_disk_is_detached_by_its_machine(stage: Stage) -> None:
    volume(stage)
    spec = {"volumeRef": {"name": "data"}, "hostRef": {"name": "h"}, "machineRef": {"name": "web", "uid": "u"}}
    put(stage, "VolumeAttachment", "web-data", spec)
    assert "bmctl disk detach web data" in stage.fails(4, "volume", "detach", "data")
    assert names(stage, "VolumeAttachment") == ["web-data"]


def test_a_volume_grows_and_every_disk_of_it_is_waited_for(stage: Stage) -> None:
    volume(stage)
    attachment(stage)
    steps: list[str] = []

    def grow() -> None:
        steps.append("backend")
        tell(stage, "Volume", "data", {"sizeBytes": 2 * GIB})

    def show() -> None:
        steps.append("disk")
        tell(stage, "VolumeAttachment", "data-host-1", {"sizeBytes": 2 * GIB})

    actors = [stage.soon(grow), stage.soon(show, watch=2)]
    assert stage.ok("volume", "resize", "data", "2Gi", "--wait") == "volume/data has 2Gi\n"
    assert steps == ["backend", "disk"]
    for actor in actors:
        actor.join()


def test_a_volume_never_shrinks(stage: Stage) -> None:
    volume(stage)
    complaint = stage.fails(8, "volume", "resize", "data", "512Mi")
    assert "cannot shrink" in complaint
    assert "spec.size" in complaint
    assert "at least 1Gi" in complaint
    assert read(stage, "Volume", "data")["spec"]["size"] == "1Gi"


def test_a_host_that_cannot_see_growth_is_named(stage: Stage) -> None:
    volume(stage)
    attachment(stage, liveResize=False)
    assert "host host-1 sees the new size after its next start" in stage.ok("volume", "resize", "data", "3Gi")


def test_a_refused_growth_ends_the_wait(stage: Stage) -> None:
    volume(stage)
    bad = {"phase": "Available", "conditions": [ready("backend array cannot grow volumes", "Unsupported")]}
    actor = stage.soon(lambda: tell(stage, "Volume", "data", bad))
    complaint = stage.fails(1, "volume", "resize", "data", "2Gi", "--wait")
    actor.join()
    assert "cannot grow volumes" in complaint


def test_limits_that_are_not_named_stay(stage: Stage) -> None:
    volume(stage, qos={"iops": 100, "bytesPerSecond": 5000})
    assert stage.ok("volume", "qos", "data", "--iops", "2k") == "volume/data becomes 2,000 op/s, 4.9 KiB/s\n"
    assert read(stage, "Volume", "data")["spec"]["qos"] == {"iops": 2000, "bytesPerSecond": 5000}
    stage.ok("volume", "qos", "data", "--bandwidth", "0")
    assert read(stage, "Volume", "data")["spec"]["qos"] == {"iops": 2000}


def test_unlimited_takes_all_limits_away(stage: Stage) -> None:
    volume(stage, qos={"iops": 100})
    assert stage.ok("volume", "qos", "data", "--unlimited") == "volume/data becomes unlimited\n"
    assert not read(stage, "Volume", "data")["spec"].get("qos")


def test_a_total_and_its_parts_are_not_mixed(stage: Stage) -> None:
    volume(stage, qos={"iops": 100})
    complaint = stage.fails(8, "volume", "qos", "data", "--read-iops", "5")
    assert "spec.qos.iops" in complaint
    assert "--iops 0" in complaint
    stage.ok("volume", "qos", "data", "--read-iops", "5", "--iops", "0")
    assert read(stage, "Volume", "data")["spec"]["qos"] == {"readIops": 5}


@pytest.mark.parametrize("arguments", [(), ("--iops", "-1"), ("--iops", "x"), ("--iops", "1", "--unlimited")])
def test_limits_that_make_no_sense_are_wrong_usage(stage: Stage, arguments: tuple[str, ...]) -> None:
    volume(stage)
    stage.fails(2, "volume", "qos", "data", *arguments)


def test_qos_waits_for_the_dpu_and_names_an_attachment_that_goes_its_own_way(stage: Stage) -> None:
    volume(stage)
    attachment(stage)
    actor = stage.soon(lambda: tell(stage, "VolumeAttachment", "data-host-1", {"qos": {"iops": 9, "readIops": 0}}))
    assert stage.ok("volume", "qos", "data", "--iops", "9", "--wait") == "volume/data is 9 op/s\n"
    actor.join()
    own = {"volumeRef": {"name": "data"}, "hostRef": {"name": "host-2"}, "qos": {"iops": 0}}
    put(stage, "VolumeAttachment", "own", own)
    assert "attachment own has limits of its own, which go before these: unlimited" in stage.ok(
        "volume", "qos", "data", "--iops", "8"
    )


def test_stats_show_what_the_disk_has_moved(stage: Stage) -> None:
    volume(stage)
    host(stage)
    attachment(stage)
    said = stage.ok("volume", "stats", "data")
    assert ["read", "1", "4", "KiB", "-"] in [line.split() for line in said.splitlines()]
    assert json.loads(stage.ok("volume", "stats", "data", "-o", "json"))["counters"]["readBytes"] == 4096


def test_stats_go_on_with_rates(stage: Stage) -> None:
    volume(stage)
    host(stage)
    attachment(stage)
    said = stage.ok("volume", "stats", "data", "--watch", "--interval", "0.1", "--count", "2").splitlines()
    assert len(said) == 3
    assert said[0].split()[:2] == ["TIME", "READS/S"]


def test_stats_of_a_volume_that_nobody_has_say_how_to_attach_it(stage: Stage) -> None:
    volume(stage)
    assert "bmctl volume attach data HOST" in stage.fails(3, "volume", "stats", "data")
    stage.fails(2, "volume", "stats", "data", "--count", "3")
