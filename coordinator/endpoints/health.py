"""Health, readiness and metrics over HTTP."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from coordinator.endpoints.measures import CONTROLLER_READY

Check = Callable[[], str]


class Checks:
    """What must be in order for the coordinator to be ready.

    A check returns the reason why not, or nothing; each controller adds one, for instance ``has not listed hosts yet``.
    """

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """Add a check under a name; the same name replaces it."""
        self._checks[name] = check

    def troubles(self) -> dict[str, str]:
        """Name to reason of what is not in order; the gauge of each is set on the way."""
        found = {}
        for name, check in self._checks.items():
            reason = check()
            CONTROLLER_READY.labels(name).set(0 if reason else 1)
            if reason:
                found[name] = reason
        return found

    def report(self) -> str:
        """One line for each check, as ``/readyz?verbose`` shows it."""
        troubles = self.troubles()
        lines = [f"[-] {name}: {troubles[name]}" if name in troubles else f"[+] {name}" for name in self._checks]
        return "\n".join([*lines, "not ready" if troubles else "ready"]) + "\n"


def health_routes(checks: Checks) -> list[web.RouteDef]:
    """``/healthz`` and ``/livez`` (the loop turns), ``/readyz`` (all is in order)."""

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def ready(_request: web.Request) -> web.Response:
        return readiness(checks)

    return [web.get("/healthz", alive), web.get("/livez", alive), web.get("/readyz", ready)]


def readiness(checks: Checks) -> web.Response:
    """200 with the report when all is in order, else 503 with it."""
    report = checks.report()
    return web.Response(text=report, status=200 if not checks.troubles() else 503)


def metrics(checks: Checks, registry: CollectorRegistry = REGISTRY) -> web.Response:
    """All metrics of this process in Prometheus' text form.

    Args:
        checks: asked so that their gauges are fresh.
        registry: where the metrics are.
    """
    checks.troubles()
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
