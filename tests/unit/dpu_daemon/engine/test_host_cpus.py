from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.host_cpus import HostCpus
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.model.binding import BoundTo, ContainerName, ContainerSize, HostBindings, PodSize, SizeChange
from dpu_daemon.model.cgroup import Knob, QosClass
from dpu_daemon.model.event import Event
from proto.cpuset import parse, show
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.groups import FakeGroups, Killed

MIB = 1 << 20


class Host:
    """A host's engine on fake groups; `restart` reads the journal anew, as after a kill."""

    def __init__(self, path: Path, groups: FakeGroups) -> None:
        self.path, self.groups = path, groups
        self.ledger: Ledger
        self.cpus: HostCpus

    async def restart(self) -> None:
        self.ledger = Ledger(Journal(self.path))
        await self.ledger.load()
        self.cpus = HostCpus(self.ledger, Operations(), self.groups)

    async def bind(self, asked: HostBindings) -> None:
        await self.cpus.bind(asked, Deadline.after(30.0))

    async def resize(self, asked: SizeChange, bindings: HostBindings | None = None) -> None:
        await self.cpus.resize(asked, bindings, Deadline.after(30.0))

    async def repair(self) -> list[str]:
        """One audit; the sentences of what it put right."""
        repairs = await self.cpus.audit()
        for repair in repairs:
            await repair.work()
        return [repair.why for repair in repairs]

    def cpus_of(self, container: str) -> str:
        leaf = next(group for group in self.groups.groups.values() if group.container_id == f"{container}-id")
        return show(leaf.cpuset)


@pytest.fixture
async def host(tmp_path: Path) -> Host:
    made = Host(tmp_path / "journal", FakeGroups())
    await made.restart()
    return made


def bindings(generation: int, shared: str, reserved: str = "0", **own: str) -> HostBindings:
    bound = tuple(
        BoundTo(who=ContainerName(pod_uid=pod, container="main"), own=cpus, allowed=cpus) for pod, cpus in own.items()
    )
    return HostBindings(generation=generation, reserved=reserved, shared=shared, bindings=bound)


def size(request: str, pod: str, limit_mib: int, cpu: int = 500) -> SizeChange:
    container = ContainerSize(
        who=ContainerName(pod_uid=pod, container="main"),
        cpu_request_milli=100,
        cpu_limit_milli=cpu,
        memory_request_bytes=16 * MIB,
        memory_limit_bytes=limit_mib * MIB,
    )
    return SizeChange(request_id=request, pods=(PodSize(pod_uid=pod, containers=(container,)),))


async def test_bound_containers_leave_the_shared_pool(host: Host) -> None:
    host.groups.run("db", "main")
    host.groups.run("web", "main2")
    await host.bind(bindings(1, "1,4-7", db="2-3"))
    assert (host.cpus_of("main"), host.cpus_of("main2")) == ("2-3", "1,4-7")
    assert await host.repair() == []


async def test_a_container_that_comes_later_is_put_where_it_belongs(host: Host) -> None:
    await host.bind(bindings(1, "1,4-7", db="2-3"))
    host.groups.run("db", "main")
    [why] = await host.repair()
    assert "kubepods" in why
    assert host.cpus_of("main") == "2-3"


async def test_who_is_written_by_somebody_else_is_put_right(host: Host) -> None:
    path = host.groups.run("db", "main")
    await host.bind(bindings(1, "1-7"))
    leaf = f"{path}/main-id"
    host.groups.groups[leaf] = type(host.groups.groups[leaf])(
        **{**_fields(host.groups.groups[leaf]), "cpuset": parse("1"), "effective": parse("1")}
    )
    await host.repair()
    assert host.cpus_of("main") == "1-7"


def _fields(group: object) -> dict[str, Any]:
    return {name: getattr(group, name) for name in group.__slots__}  # type: ignore[attr-defined]


async def test_a_refused_write_takes_the_whole_change_back(host: Host) -> None:
    path = host.groups.run("db", "main", "side")
    await host.bind(bindings(1, "1-7"))
    before = dict(host.groups.groups)
    host.groups.refuse = {(f"{path}/side-id", Knob.CPUSET)}
    with pytest.raises(DpuError) as refused:
        await host.bind(bindings(2, "1,4-7", db="2-3"))
    assert refused.value.reason is Reason.IN_USE
    assert host.groups.groups == before
    assert host.ledger.bindings == bindings(1, "1-7")


async def test_a_container_that_ends_meanwhile_is_no_reason_to_fail(host: Host) -> None:
    path = host.groups.run("db", "main")
    host.groups.run("web", "main2")
    host.groups.vanishing = [path]
    await host.bind(bindings(1, "1,4-7", db="2-3"))
    assert host.cpus_of("main2") == "1,4-7"


@pytest.mark.parametrize(
    ("asked", "reason", "sentence"),
    [
        (bindings(1, "1-7"), Reason.STALE_GENERATION, "older than 2"),
        (bindings(2, "2-7"), Reason.ALREADY_EXISTS, "another content"),
        (bindings(3, "1-8"), Reason.INVALID, "CPU 8"),
        (bindings(3, "0-7"), Reason.INVALID, "CPU 0 is reserved"),
        (bindings(3, "1-7", db="2-3"), Reason.INVALID, "CPU 2-3 is shared and has an owner"),
        (bindings(3, "1-x"), Reason.INVALID, "not a list of CPUs"),
    ],
)
async def test_bindings_that_come_late_or_cannot_be_are_refused(
    host: Host, asked: HostBindings, reason: Reason, sentence: str
) -> None:
    await host.bind(bindings(2, "1-7"))
    with pytest.raises(DpuError) as refused:
        await host.bind(asked)
    assert refused.value.reason is reason
    assert sentence in refused.value.message
    assert host.ledger.bindings == bindings(2, "1-7")


async def test_a_repeated_call_is_the_same_call(host: Host) -> None:
    host.groups.run("db", "main")
    await host.bind(bindings(1, "1,4-7", db="2-3"))
    written = len(host.groups.writes)
    await host.bind(bindings(1, "1,4-7", db="2-3"))
    assert len(host.groups.writes) == written


async def test_a_resize_is_done_once_and_remembered(host: Host) -> None:
    path = host.groups.run("web", "main")
    await host.resize(size("r1", "web", 256))
    assert host.groups.groups[path].memory_bytes == 256 * MIB
    assert host.groups.groups[f"{path}/main-id"].quota_milli == 500
    written = len(host.groups.writes)
    await host.resize(size("r1", "web", 256))
    assert len(host.groups.writes) == written
    with pytest.raises(DpuError) as refused:
        await host.resize(size("r1", "web", 512))
    assert refused.value.reason is Reason.ALREADY_EXISTS


async def test_a_resize_under_what_is_in_use_changes_nothing(host: Host) -> None:
    host.groups.run("web", "main", used_bytes=200 * MIB)
    await host.resize(size("r1", "web", 512))
    before = dict(host.groups.groups)
    with pytest.raises(DpuError) as refused:
        await host.resize(size("r2", "web", 128))
    assert refused.value.reason is Reason.IN_USE
    assert host.groups.groups == before
    assert set(host.ledger.sizes) == {"r1"}


async def test_an_exclusive_instance_grows_with_the_shared_pool_in_one_change(host: Host) -> None:
    host.groups.run("db", "main")
    web = host.groups.run("web", "main2")
    await host.bind(bindings(1, "1,4-7", db="2-3"))
    await host.resize(size("r1", "db", 256), bindings(2, "1,6-7", db="2-5"))
    assert (host.cpus_of("main"), host.cpus_of("main2")) == ("2-5", "1,6-7")
    host.groups.refuse = {(web, Knob.CPUSET)}
    with pytest.raises(DpuError):
        await host.resize(size("r2", "db", 512), bindings(3, "1,4-7", db="2-3"))
    assert (host.cpus_of("main"), host.cpus_of("main2")) == ("2-5", "1,6-7")
    assert host.ledger.bindings == bindings(2, "1,6-7", db="2-5")


async def test_a_pod_that_is_not_here_is_not_resized(host: Host) -> None:
    with pytest.raises(DpuError) as refused:
        await host.resize(size("r1", "ghost", 1))
    assert refused.value.reason is Reason.NOT_FOUND


async def killed_at_every_write(host: Host, change: Callable[[], Any], check: Callable[[], None]) -> int:
    """Kill the daemon before its 1st, 2nd ... write of a change; after each restart audits must make it whole."""
    start = dict(host.groups.groups)
    journal = host.path.read_bytes()
    for kills in range(200):
        host.groups.groups = dict(start)
        host.groups.kill_after = kills
        await host.ledger.close()
        for leftover in host.path.parent.glob(f"{host.path.name}-*"):
            leftover.unlink()
        host.path.write_bytes(journal)
        await host.restart()
        try:
            await change()
        except Killed:
            host.groups.kill_after = None
            await host.ledger.close()
            await host.restart()
            await host.repair()
            await host.repair()
            check()
            assert await host.repair() == []
        else:
            check()
            return kills
    raise AssertionError("never finished")


async def test_a_daemon_killed_before_any_write_finds_its_way_back(host: Host) -> None:
    host.groups.run("db", "main")
    host.groups.run("web", "main2", qos=QosClass.BEST_EFFORT)
    await host.bind(bindings(1, "1,4-7", db="2-3"))
    await host.ledger.close()
    await host.restart()

    def check() -> None:
        assert (host.cpus_of("main"), host.cpus_of("main2")) == ("2-6", "1,7")
        leaf = next(group for group in host.groups.groups.values() if group.container_id == "main-id")
        assert (leaf.memory_bytes, leaf.quota_milli) == (256 * MIB, 700)

    async def change() -> None:
        await host.resize(size("r9", "db", 256, cpu=700), bindings(2, "1,7", db="2-6"))

    assert await killed_at_every_write(host, change, check) >= 8


async def test_containers_that_come_during_a_change_get_only_what_is_shared_before_and_after_it(host: Host) -> None:
    await host.bind(bindings(1, "1-5", db="6-7"))
    assert host.groups.for_newcomers == parse("1-5")
    path = host.groups.run("db", "main")
    host.groups.refuse = {(f"{path}/main-id", Knob.CPUSET)}
    with pytest.raises(DpuError):
        await host.bind(bindings(2, "1,4-7", db="2-3"))
    assert host.groups.for_newcomers == parse("1-5")
    await host.ledger.close()
    await host.restart()
    assert host.groups.for_newcomers == parse("1-5")


async def test_while_the_runtime_never_answered_bound_containers_stay_where_they_are(host: Host) -> None:
    host.groups.run("db", "main")
    host.groups.run("web", "main2")
    await host.bind(bindings(1, "1,4-7", db="2-3"))
    host.groups.container_names.clear()
    host.groups.runtime_answered = False
    await host.ledger.close()
    await host.restart()
    assert await host.repair() == []
    assert host.cpus_of("main") == "2-3"
    host.groups.runtime_answered = True
    await host.repair()
    assert host.cpus_of("main") == "1,4-7"


async def test_an_instance_whose_cpus_go_offline_runs_on_the_shared_ones_until_they_are_back(host: Host) -> None:
    host.groups.run("db", "main")
    await host.bind(bindings(1, "1,4-7", db="2-3"))
    host.groups.online_cpus = parse("0-1,3-7")
    await host.repair()
    assert host.cpus_of("main") == "3"
    host.groups.online_cpus = parse("0-1,4-7")
    await host.repair()
    assert host.cpus_of("main") == "1,4-7"
    host.groups.online_cpus = parse("0-7")
    await host.repair()
    assert host.cpus_of("main") == "2-3"


async def test_a_warning_of_the_host_is_told_once(host: Host) -> None:
    host.groups.told = ("kubelet's CPU manager policy is static",)
    await host.repair()
    await host.repair()
    events = [event async for event in _events(host)]
    assert [event.message for event in events if event.reason == "Warning"] == list(host.groups.told)
    assert host.cpus.warned == set(host.groups.told)


async def _events(host: Host) -> AsyncIterator[Event]:
    async for event in host.ledger.events(0):
        yield event
        if event.sequence == host.ledger.last_event:
            return
