"""What is measured of usage and resizes; no label grows with pods or containers."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)


class ResizeMetrics:
    """Streams of usage, resizes by way and result, and how long it took from a threshold to the kernel."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.streams = Gauge("dpupool_usage_streams", "Hosts that tell what they use", registry=registry)
        self.containers = Gauge("dpupool_usage_containers", "Containers in the reports", registry=registry)
        self.reports = Counter("dpupool_usage_reports", "Reports taken in", ["kind"], registry=registry)
        self.gaps = Counter("dpupool_usage_gaps", "Streams that did not go on where they were", registry=registry)
        self.resizes = Counter("dpupool_resizes", "Resizes carried out", ["way", "result"], registry=registry)
        self.reaction = Histogram(
            "dpupool_resize_reaction_seconds",
            "From the sample that decided to the value in force",
            buckets=SECONDS,
            registry=registry,
        )
