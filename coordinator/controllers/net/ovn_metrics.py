"""What the controller of OVN measures."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)


class OvnMetrics:
    """One set per process."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self.rows = Gauge("dpupool_ovn_rows_wanted", "Rows that shall be in the database", registry=registry)
        self.refused = Gauge("dpupool_ovn_rows_refused", "Rows that cannot be written", registry=registry)
        self.connected = Gauge("dpupool_ovn_connected", "1 while the northbound database is known", registry=registry)
        self.waiting = Gauge("dpupool_ovn_queue_depth", "Owners of rows that wait", registry=registry)
        self.oldest = Gauge("dpupool_ovn_queue_oldest_seconds", "Wait of the oldest owner", registry=registry)
        self.transactions = Counter(
            "dpupool_ovn_transactions", "Transactions, by outcome", ["outcome"], registry=registry
        )
        self.lost = Counter("dpupool_ovn_connections_lost", "Connections that have ended", registry=registry)
        self.batch = Histogram(
            "dpupool_ovn_batch_operations", "Operations of a transaction", buckets=ROWS, registry=registry
        )
        self.lag = Histogram(
            "dpupool_ovn_lag_seconds", "From a change to its commit", buckets=SECONDS, registry=registry
        )
        self.resyncs = Counter("dpupool_ovn_full_comparisons", "Comparisons of everything", registry=registry)
        self.restored = Counter(
            "dpupool_ovn_rows_restored", "Operations that put right what others had changed", registry=registry
        )
