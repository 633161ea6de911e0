"""Real drivers behind dpu_daemon.engine.protocols; the only home of third-party clients in the daemon."""
