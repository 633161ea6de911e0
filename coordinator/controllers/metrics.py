"""What the controllers measure."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


class ControllerMetrics:
    """Queues and looks of all controllers, by controller name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        label = ["controller"]
        self.depth = Gauge("dpupool_queue_depth", "Keys that wait", label, registry=registry)
        self.oldest = Gauge("dpupool_queue_oldest_seconds", "Wait of the oldest key", label, registry=registry)
        self.in_flight = Gauge("dpupool_queue_in_flight", "Keys looked at now", label, registry=registry)
        self.looks = Histogram(
            "dpupool_reconcile_seconds", "Duration of looks", label, buckets=SECONDS, registry=registry
        )
        self.failures = Counter("dpupool_reconcile_failures", "Looks that failed", label, registry=registry)
        self.phases = Histogram(
            "dpupool_machine_phase_seconds",
            "Time that machines spent in a phase",
            ["phase"],
            buckets=(*SECONDS, 120.0, 300.0, 900.0),
            registry=registry,
        )
