"""What bm-api counts."""

from prometheus_client import Counter, Gauge, Histogram

CONSOLE_SESSIONS = Gauge("dpupool_console_sessions", "Consoles that are open now.", ["mode"])
CALLS = Counter("dpupool_bm_api_calls_total", "Calls of bm-api by their outcome.", ["action", "outcome"])
CALL_SECONDS = Histogram(
    "dpupool_bm_api_call_seconds",
    "Time of calls of bm-api, consoles aside.",
    ["action"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
CONTROLLER_READY = Gauge("dpupool_controller_ready", "1 when the controller has caught up and works.", ["controller"])
