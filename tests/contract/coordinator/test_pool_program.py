"""The table [pools] reaches the loop of a real coordinator process: its records carry the settings."""

import asyncio
from pathlib import Path

from coordinator.clients.kube import KubeApi
from coordinator.controllers.pool.records import Records, read_record
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION
from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.expanders import ExpanderName
from coordinator.core.pool.record import LoopRecord
from tests.contract.coordinator.test_program import kubeconfig, settings, started
from tests.fakes.ports import free_port

POOLS = """
[pools]
loop_s = 0.2
gather_s = 0.05
records = 2
startup_s = 77
[pools.up]
expanders = ["priority", "least-nodes"]
estimator = "tight"
priorities = {"5" = ["^big"]}
quotas = {cpu = "96"}
[pools.down]
unneeded_s = 33
[pools.drain]
min_replicas = 2
"""


async def newest(records: Records, number: int) -> LoopRecord:
    """The newest record, once so many loops were made."""
    async with asyncio.timeout(60):
        while not (files := records.files()) or int(files[-1].name[5:-8]) < number:  # noqa: ASYNC110  (another process)
            await asyncio.sleep(0.1)
    return read_record(files[-1])


async def test_what_the_file_says_of_the_pools_is_what_the_loop_decides_with(tmp_path: Path) -> None:
    port = free_port()
    path = settings(tmp_path, port)
    path.write_text(path.read_text() + POOLS)
    async with started(path, tmp_path / "notices"):
        api = KubeApi.by_kubeconfig(kubeconfig(tmp_path, port))
        wanted = {"kind": "container", "maximum": 5, "template": {"image": "tiny"}}
        own = {"priority": 9, "options": {"unneededSeconds": 44, "utilisationThreshold": 0.25}}
        body = {"apiVersion": API_VERSION, "kind": Kind.POOL.value, "metadata": {"name": "work"}, "spec": wanted | own}
        await api.create(Kind.POOL, body)
        records = Records(tmp_path / "pool-loops")
        made = await newest(records, 4)
        assert len(records.files()) == 2
        await api.close()
    up, down = made.options.up, made.options.down
    assert up.expanders == [ExpanderName.PRIORITY, ExpanderName.LEAST_NODES]
    assert (up.packing, up.priorities, up.quotas) == (Packing.TIGHT, {5: ["^big"]}, {"cpu": 96_000})
    assert (down.unneeded_s, down.loop_s, down.drain.min_replicas, made.options.health.startup_s) == (33, 0.2, 2, 77)
    (group,) = made.seen.groups
    assert (group.priority, group.options) == (9, {"unneeded_s": 44, "utilisation_threshold": 0.25})
