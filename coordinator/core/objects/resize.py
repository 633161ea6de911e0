"""Policies by which running containers get other sizes."""

from coordinator.core.objects.meta import Condition, Json, Metadata, Wire
from coordinator.core.pool.quantity import parse
from coordinator.core.resize.thresholds import Resource, Rule


class RuleSpec(Wire, frozen=True, kw_only=True):
    """How one resource follows its use; `minimum` and `maximum` are quantities."""

    minimum: str
    maximum: str
    raise_at: float = 0.8
    lower_at: float = 0.3
    aim: float = 0.6
    step: float = 2.0
    raise_after_seconds: float = 1.0
    lower_after_seconds: float = 120.0
    raise_pause_seconds: float = 3.0
    lower_pause_seconds: float = 300.0

    def rule(self, resource: Resource) -> Rule:
        """This rule as decisions take it.

        Raises:
            DpuError: INVALID naming the field.
        """
        scale = 1000 if resource is Resource.CPU else 1
        field = f"spec.{resource.value}"
        return Rule(
            resource=resource,
            minimum=int(parse(self.minimum, f"{field}.minimum") * scale),
            maximum=int(parse(self.maximum, f"{field}.maximum") * scale),
            raise_at=self.raise_at,
            lower_at=self.lower_at,
            aim=self.aim,
            step=self.step,
            raise_after_s=self.raise_after_seconds,
            lower_after_s=self.lower_after_seconds,
            raise_pause_s=self.raise_pause_seconds,
            lower_pause_s=self.lower_pause_seconds,
        )


class PrometheusSource(Wire, frozen=True, kw_only=True):
    """Queries for the use of CPU in CPUs and of memory in bytes, by namespace, pod and container."""

    cpu: str = ""
    memory: str = ""
    interval_seconds: float = 5.0


class SourceSpec(Wire, frozen=True, kw_only=True):
    """Where use is known from: our own reports, unless a query is given."""

    prometheus: PrometheusSource | None = None


class ResizePolicySpec(Wire, frozen=True, kw_only=True):
    """`clusters` and `containers` mean all when they are empty."""

    selector: Json = {}
    clusters: list[str] = []
    containers: list[str] = []
    cpu: RuleSpec | None = None
    memory: RuleSpec | None = None
    source: SourceSpec = SourceSpec()


class Told(Wire, frozen=True, kw_only=True):
    """What was decided of a container last."""

    pod: str
    container: str
    resource: str
    message: str
    at: str = ""


class ResizePolicyStatus(Wire, frozen=True, kw_only=True):
    """`containers` tells of the first ones by name; metrics count all."""

    observed_generation: int = 0
    conditions: list[Condition] = []
    pods: int = 0
    containers: list[Told] = []


class ResizePolicy(Wire, frozen=True, kw_only=True):
    """Thresholds by which containers of selected pods of its namespace are scaled while they run."""

    metadata: Metadata
    spec: ResizePolicySpec
    status: ResizePolicyStatus = ResizePolicyStatus()

    def rules(self) -> dict[Resource, Rule]:
        """Its rules.

        Raises:
            DpuError: INVALID naming the field.
        """
        found = {Resource.CPU: self.spec.cpu, Resource.MEMORY: self.spec.memory}
        return {resource: spec.rule(resource) for resource, spec in found.items() if spec is not None}
