"""The table [pools]: every option of the decisions and the loop can be set, and its defaults are theirs."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordinator.config import load
from coordinator.controllers.pool.drain_timing import DrainTiming
from coordinator.controllers.pool.loop import PoolSettings
from coordinator.controllers.pool.records import Bounds
from coordinator.controllers.pool.stopwatch import LIMITS_S
from coordinator.core.pool.drain_rules import DrainOptions
from coordinator.core.pool.expanders import ExpanderName
from coordinator.core.pool.options import PoolOptions, ScaleDownOptions, ScaleUpOptions
from coordinator.core.pool.watch import Limit
from coordinator.pool_settings import Pools
from proto.errors import DpuError

REQUIRED = 'state = "s"\n[api]\ntls_cert = "c"\ntls_key = "k"\n'


def pools_of(tmp_path: Path, text: str) -> Pools:
    path = tmp_path / "coordinator.toml"
    path.write_text(REQUIRED + text)
    return load(path).pools


def test_an_empty_table_means_the_defaults_of_the_decisions_and_of_the_loop() -> None:
    assert Pools().options() == PoolOptions()
    assert Pools().loop("me") == PoolSettings(identity="me", limits_s=dict(LIMITS_S))
    assert Pools().bounds() == Bounds()


def test_every_option_can_be_set() -> None:
    named = {"packing": "estimator", "prices": "pod_cpu_price", "drain": "", "loop_s": ""}
    pairs = ((ScaleUpOptions, Pools().up), (ScaleDownOptions, Pools().down), (DrainOptions, Pools().drain))
    for options, table in (*pairs, (DrainTiming, Pools().drain)):
        for name in options.__dataclass_fields__:
            own = named.get(name, name)
            assert not own or hasattr(table, own) or (options is ScaleDownOptions and name == "packing"), name


def test_what_is_written_reaches_the_decisions(tmp_path: Path) -> None:
    text = """
[pools]
loop_s = 20
max_unready_share = 0.6
simulation_s = 5
[pools.up]
expanders = ["priority", "price"]
estimator = "tight"
quotas = {cpu = "1k"}
priorities = {"10" = ["^gpu-"], "-5" = [".*"]}
[pools.down]
unneeded_s = 60
minimums = {memory = "1Ti"}
[pools.drain]
keep_local_storage = false
priorities = {"0" = 60, "1000" = 30.5}
"""
    pools = pools_of(tmp_path, text)
    options, loop = pools.options(), pools.loop("me")
    assert options.up.expanders == (ExpanderName.PRIORITY, ExpanderName.PRICE)
    assert options.up.quotas == {"cpu": 1_000_000}
    assert options.up.priorities == {10: ["^gpu-"], -5: [".*"]}
    assert options.up.packing is options.down.packing
    assert (options.down.unneeded_s, options.down.loop_s, options.down.minimums) == (60, 20, {"memory": 2**40})
    assert not options.down.drain.keep_local_storage
    assert options.health.max_unready_share == 0.6
    assert loop.limits_s[Limit.SIMULATION] == 5
    assert loop.drain.groups == [(0, 60), (1000, 30.5)]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[pools]\nspeed = 1", "pools"),
        ("[pools]\nloop_s = 0", "pools.loop_s"),
        ("[pools]\nrenew_s = 15", "pools.renew_s"),
        ("[pools.down]\nutilisation = 1.5", "pools.down.utilisation"),
        ("[pools.up]\nexpanders = []", "pools.up.expanders"),
        ('[pools.up]\nexpanders = ["best"]', "pools.up.expanders[0]"),
        ('[pools.up]\nquotas = {cpu = "1Q"}', "pools.up.quotas.cpu"),
        ('[pools.up]\npriorities = {high = ["a"]}', "pools.up.priorities.high"),
        ('[pools.up]\npriorities = {1 = ["("]}', "pools.up.priorities.1"),
        ("[pools.drain]\ngrace_s = -1", "pools.drain.grace_s"),
    ],
)
def test_what_is_wrong_is_named_by_key_and_file(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(DpuError, match=r"coordinator\.toml: ") as refused:
        pools_of(tmp_path, text)
    assert refused.value.field == field


def test_times_of_a_drain_follow_the_groups_of_priorities() -> None:
    plain = DrainTiming()
    assert plain.group_of(10**9) == 0
    assert plain.patience_s(0) == (125.0, 755.0)
    grouped = DrainTiming(priorities={0: 60.0, 1000: 10.0})
    assert [grouped.group_of(priority) for priority in (-5, 0, 999, 1000, 5000)] == [0, 0, 0, 1, 1]
    assert grouped.patience_s(1) == (5.0 + 210.0 + 120.0, 5.0 + 210.0 + 120.0 + 40.0)


def test_the_tables_can_be_written_down() -> None:
    plain: Any = msgspec.to_builtins(Pools())
    assert msgspec.convert(plain, Pools) == Pools()
