"""OffloadService over gRPC as the coordinator calls it, and what Prometheus sees."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from coordinator.clients.offload import FlowsAsked, GrpcOffload, Verdict
from coordinator.clients.outside import RealOutside
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.model.offload import Layer, Mark
from dpu_daemon.service.offload_metrics import OffloadCollector
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import RunningDaemon, fake_dpu
from tests.fakes.offload import FakeOffload, a_flow

TAKEN, REFUSED = a_flow(1), a_flow(2, mark=Mark.NONE, packets=10, bytes=900)
TRACKED = a_flow(3, layer=Layer.OVS, mark=Mark.NONE, actions="ct(commit),recirc(0x1)", packets=40, bytes=4000)


@pytest.fixture
def switch() -> FakeOffload:
    made = FakeOffload()
    made.flows(TAKEN, REFUSED, TRACKED)
    return made


@pytest.fixture
async def dpu(tmp_path: Path, switch: FakeOffload) -> AsyncIterator[RunningDaemon]:
    async with fake_dpu(tmp_path, offload=switch.parts()) as running:
        yield running


@pytest.fixture
def client(dpu: RunningDaemon) -> GrpcOffload:
    return GrpcOffload("DPU dpu-1", dpu.channel())


async def test_a_report_says_for_each_port_what_is_where_and_why(client: GrpcOffload) -> None:
    report = await client.offload()
    assert (report.enabled, report.restart_needed, report.path, report.datapath) == (True, False, "tc", "system")
    assert (report.flows, report.flows_in_hardware, report.packets_in_hardware) == (3, 1, 100)
    assert "hw-tc-offload=1/1" in report.abilities
    port = report.ports[0]
    assert (port.netdev, port.port_id, port.driver, port.flow_api) == ("rep0", "default.web-0", "mlx5e_rep", "linux_tc")
    assert (port.verdict, port.asked, port.capable) == (Verdict.PARTIAL, True, True)
    assert port.why.startswith("2 of 3 flows, 33 % of packets, are not: it goes through conntrack")
    assert report.sentence.startswith("offload is on (tc): 1 of 3 flows and 67 % of packets are in hardware")


async def test_flows_come_the_heaviest_first(client: GrpcOffload) -> None:
    found = await client.flows(FlowsAsked())
    assert [flow.packets for flow in found] == [100, 40, 10]
    assert [flow.verdict for flow in found] == [Verdict.HARDWARE, Verdict.SOFTWARE, Verdict.SOFTWARE]
    assert found[1].reason == "conntrack"
    assert found[2].match == "in_port(rep0),ipv4(dst=10.0.0.2)"


async def test_flows_are_chosen_by_where_they_are_and_where_they_enter(client: GrpcOffload) -> None:
    software = await client.flows(FlowsAsked(software_only=True, limit=1))
    assert [flow.ufid for flow in software] == ["ufid-3"]
    assert await client.flows(FlowsAsked(netdev="rep9")) == []


async def test_heavy_flows_in_software_are_in_the_report(
    client: GrpcOffload, dpu: RunningDaemon, switch: FakeOffload
) -> None:
    await client.offload()
    switch.flows(TAKEN._replace(packets=10_000), REFUSED._replace(packets=510, bytes=9000))
    assert isinstance(dpu.engine, DpuEngine)
    assert dpu.engine.offload is not None
    await dpu.engine.offload.once()
    report = await client.offload()
    assert [(flow.ufid, flow.packets_since) for flow in report.heavy] == [("ufid-2", 500)]
    assert any(sentence.startswith("500 packets in 1 flows") for sentence in report.warnings)


async def test_the_words_of_a_switch_that_is_away_arrive(
    client: GrpcOffload, switch: FakeOffload, dpu: RunningDaemon
) -> None:
    switch.down = True
    assert isinstance(dpu.engine, DpuEngine)
    assert dpu.engine.offload is not None
    with pytest.raises(DpuError):
        await dpu.engine.offload.once()
    with pytest.raises(DpuError) as away:
        await client.offload()
    assert away.value.reason is Reason.UNAVAILABLE
    assert "ovs-vswitchd is not reachable" in away.value.message


async def test_the_coordinator_reaches_it_by_its_address(dpu: RunningDaemon) -> None:
    outside = RealOutside(None, {})
    report = await outside.offload("DPU dpu-1", dpu.address, "dpu-1").offload()
    await outside.close()
    assert report.enabled


async def test_a_daemon_that_cannot_tell_says_that_it_has_no_such_service(tmp_path: Path) -> None:
    async with fake_dpu(tmp_path) as running:
        with pytest.raises(DpuError) as refused:
            await GrpcOffload("DPU dpu-1", running.channel()).offload()
    assert refused.value.reason is Reason.UNSUPPORTED


@pytest.fixture
async def value(dpu: RunningDaemon, switch: FakeOffload) -> Callable[..., float | None]:
    """Metrics after two looks between which all flows carried a hundred packets."""
    assert isinstance(dpu.engine, DpuEngine)
    monitor = dpu.engine.offload
    assert monitor is not None
    await monitor.once()
    flows = switch.seen.flows
    switch.flows(*(flow._replace(packets=flow.packets + 100, bytes=flow.bytes + 9000) for flow in flows))
    await monitor.once()
    registry = CollectorRegistry()
    registry.register(OffloadCollector(monitor))
    return lambda name, **labels: registry.get_sample_value(f"dpupool_offload_{name}", labels)


async def test_metrics_count_what_moved_where(value: Callable[..., float | None]) -> None:
    assert value("enabled", path="tc") == 1
    assert value("restart_needed") == 0
    assert value("packets_total", verdict="hardware") == 100
    assert value("packets_total", verdict="software") == 200
    assert value("bytes_total", verdict="software") == 18_000
    assert value("port_packets_total", netdev="rep0", verdict="software") == 200
    assert value("flows", verdict="software", why="conntrack") == 1
    assert value("port_flows", **{"netdev": "rep0", "in": "hardware"}) == 1
    assert value("port_capable", netdev="rep0") == 1
    assert value("heavy_flows", why="driver-refused") == 1
    assert value("warnings") == 2
    assert (value("look_seconds_count") or 0) >= 2


async def test_a_switch_that_is_away_leaves_counters_and_no_state(
    value: Callable[..., float | None], dpu: RunningDaemon, switch: FakeOffload
) -> None:
    switch.down = True
    assert isinstance(dpu.engine, DpuEngine)
    assert dpu.engine.offload is not None
    with pytest.raises(DpuError):
        await dpu.engine.offload.once()
    assert value("enabled", path="tc") is None
    assert value("packets_total", verdict="hardware") == 100
    assert value("looks_failed_total") == 1
