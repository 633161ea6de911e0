from dpu_daemon.model.cgroup import QosClass
from dpu_daemon.model.usage import Sampled, Usage
from dpu_daemon.plan.reports import Reporter
from dpu_daemon.plan.usage_totals import UsageTotals, class_of_path

POD = "kubepods/burstable/poda"
NAMES = {f"{POD}/c1": ("a", "c1"), f"{POD}/c2": ("a", "c2"), POD: ("a", "")}


def _sampled(**used_us: int) -> Sampled:
    usages = {f"{POD}/{name}": Usage(cpu_usage_us=used, memory_bytes=7) for name, used in used_us.items()}
    return Sampled(unix_ms=1, groups={POD: Usage(cpu_usage_us=sum(used_us.values())), **usages})


def test_counters_of_a_class_rise_with_its_containers_and_never_fall() -> None:
    reporter, totals = Reporter(), UsageTotals()
    burstable = totals.classes[QosClass.BURSTABLE]
    for sample in (_sampled(c1=1000, c2=50), _sampled(c1=1500, c2=50), _sampled(c2=60), _sampled(c2=70, c1=5)):
        totals.take(reporter.take(sample, NAMES))
    assert burstable.counters["cpu_usage_us"] == 500 + 10 + 10
    assert (burstable.containers, burstable.memory_bytes) == (2, 14)
    assert totals.classes[QosClass.GUARANTEED].containers == 0


def test_the_class_is_read_from_either_way_of_naming() -> None:
    assert class_of_path("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podx.slice/c.scope") is (
        QosClass.BEST_EFFORT
    )
    assert class_of_path("kubepods/podburstable/c") is QosClass.GUARANTEED
    assert class_of_path("kubepods") is QosClass.GUARANTEED
