"""May a pod be drained from its node: the rules, one by one, in upstream's order.

Source: cluster-autoscaler simulator/drainability/rules (1.36).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.model import Controller, Phase, Pod, Restart

MIRROR = "kubernetes.io/config.mirror"
DAEMON_POD = "cluster-autoscaler.kubernetes.io/daemonset-pod"
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
SAFE_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
SYSTEM_NAMESPACE = "kube-system"
DEFAULT_GRACE_S = 30.0
EXTRA_GRACE_S = 30.0
_REPLICATED = {"ReplicationController", "Job", "ReplicaSet", "StatefulSet"}


class Outcome(Enum):
    """What a rule, or all of them, decided."""

    UNDEFINED = "Undefined"
    DRAIN = "DrainOk"
    BLOCK = "BlockDrain"
    SKIP = "SkipDrain"
    WAIT = "WaitForCompletion"


class Blocker(Enum):
    """Why a pod keeps its node."""

    CONTROLLER_NOT_FOUND = "ControllerNotFound"
    MIN_REPLICAS = "MinReplicasReached"
    NOT_REPLICATED = "NotReplicated"
    LOCAL_STORAGE = "LocalStorageRequested"
    NOT_SAFE = "NotSafeToEvictAnnotation"
    SYSTEM_POD = "UnmovableKubeSystemPod"
    BUDGET = "NotEnoughPdb"
    UNEXPECTED = "UnexpectedError"


REMEDIES: dict[Blocker, str] = {
    Blocker.CONTROLLER_NOT_FOUND: "delete the pod, its controller is gone",
    Blocker.MIN_REPLICAS: "raise the controller's replicas, or lower the minimum replica count",
    Blocker.NOT_REPLICATED: f"annotate the pod {SAFE_TO_EVICT}=true, or give it a controller",
    Blocker.LOCAL_STORAGE: f"annotate the pod {SAFE_VOLUMES}=<volumes>, or move its data to a volume claim",
    Blocker.NOT_SAFE: f"remove the annotation {SAFE_TO_EVICT}=false",
    Blocker.SYSTEM_POD: "create a PodDisruptionBudget for it in kube-system",
    Blocker.BUDGET: "run more replicas, or relax the PodDisruptionBudget",
    Blocker.UNEXPECTED: "see the log of this loop",
}


@dataclass(frozen=True, slots=True)
class Status:
    """A rule's answer.

    Attributes:
        overrides: outcomes of later rules that this answer beats.
    """

    outcome: Outcome = Outcome.UNDEFINED
    blocker: Blocker | None = None
    sentence: str = ""
    overrides: tuple[Outcome, ...] = ()


UNDEFINED = Status()
DRAIN = Status(Outcome.DRAIN)


@dataclass(frozen=True, slots=True)
class DrainOptions:
    """Switches of the drain rules, with upstream's defaults.

    Attributes:
        keep_system_pods: pods of kube-system without a budget block (``skip-nodes-with-system-pods``).
        keep_local_storage: pods with data on the node block (``skip-nodes-with-local-storage``).
        keep_custom_controllers: only well-known controllers count (``skip-nodes-with-custom-controller-pods``).
        min_replicas: controllers with fewer replicas block; 0 switches that off.
        system_pod_timeout_s: age after which a system pod without budget may go.
    """

    keep_system_pods: bool = True
    keep_local_storage: bool = True
    keep_custom_controllers: bool = True
    min_replicas: int = 0
    system_pod_timeout_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class DrainContext:
    """What rules look at beside the pod.

    Attributes:
        controllers: by (kind, namespace, name); None when nobody lists them.
        now_s: seconds since the epoch.
    """

    budgets: BudgetTracker
    now_s: float
    options: DrainOptions = field(default_factory=DrainOptions)
    controllers: Mapping[tuple[str, str, str], Controller] | None = None


Rule = Callable[[Pod, DrainContext], Status]


def is_mirror(pod: Pod) -> bool:
    """Whether the kubelet runs the pod by itself, from a file."""
    return MIRROR in pod.annotations


def is_daemon(pod: Pod) -> bool:
    """Whether the pod belongs to a daemon set, or says that it behaves like one."""
    return (pod.owner is not None and pod.owner.kind == "DaemonSet") or pod.annotations.get(DAEMON_POD) == "true"


def is_long_terminating(pod: Pod, now_s: float) -> bool:
    """Whether its termination grace period has been over for half a minute."""
    if pod.deleted_s is None:
        return False
    grace_s = DEFAULT_GRACE_S if pod.grace_s is None else pod.grace_s
    return pod.deleted_s + grace_s + EXTRA_GRACE_S < now_s


def mirror(pod: Pod, _: DrainContext) -> Status:
    """Mirror pods go with the node; they are left out."""
    return Status(Outcome.SKIP) if is_mirror(pod) else UNDEFINED


def long_terminating(pod: Pod, context: DrainContext) -> Status:
    """Pods that should be gone long since are left out."""
    return Status(Outcome.SKIP) if is_long_terminating(pod, context.now_s) else UNDEFINED


def replica_count(pod: Pod, context: DrainContext) -> Status:
    """Pods whose controller is gone, or has too few replicas, stay."""
    owner = pod.owner
    if context.controllers is None or owner is None:
        return UNDEFINED
    foreign = owner.api_group != "apps"
    if is_daemon(pod) and owner.kind != "ReplicationController":
        if foreign or owner.kind != "DaemonSet":
            return UNDEFINED
    elif owner.kind not in _REPLICATED or (owner.kind == "StatefulSet" and foreign):
        return UNDEFINED
    controller = context.controllers.get((owner.kind, pod.namespace, owner.name))
    if controller is None:
        return _blocked(Blocker.CONTROLLER_NOT_FOUND, f"{owner.kind} {owner.name} of {pod.key} is gone")
    counted = owner.kind in {"ReplicationController", "ReplicaSet"}
    replicas = controller.replicas
    if counted and replicas is not None and replicas < context.options.min_replicas:
        few = (
            f"{owner.kind} {owner.name} of {pod.key} has {replicas} of at least {context.options.min_replicas} replicas"
        )
        return _blocked(Blocker.MIN_REPLICAS, few)
    return UNDEFINED


def daemon_set(pod: Pod, _: DrainContext) -> Status:
    """Daemon-set pods go with the node."""
    return DRAIN if is_daemon(pod) else UNDEFINED


def safe_to_evict(pod: Pod, _: DrainContext) -> Status:
    """Pods annotated as safe to evict may go whatever else they are."""
    return DRAIN if pod.annotations.get(SAFE_TO_EVICT) == "true" else UNDEFINED


def terminal(pod: Pod, _: DrainContext) -> Status:
    """Pods that have finished, or that the kubelet has rejected, may go."""
    done = pod.phase is Phase.SUCCEEDED and pod.restart is not Restart.ALWAYS
    return DRAIN if done or pod.phase is Phase.FAILED else UNDEFINED


def on_completion(pod: Pod, _: DrainContext) -> Status:
    """Pods annotated to be waited for delay the node until they finish."""
    waits = pod.annotations.get(SAFE_TO_EVICT) == "on-completion"
    return Status(Outcome.WAIT, sentence=f"{pod.key} is to complete first") if waits else UNDEFINED


def replicated(pod: Pod, context: DrainContext) -> Status:
    """Pods that nobody would start again stay."""
    owner = pod.owner
    if owner is not None and (owner.kind in _REPLICATED or not context.options.keep_custom_controllers):
        return UNDEFINED
    return _blocked(Blocker.NOT_REPLICATED, f"{pod.key} has no controller that would start it again")


def system(pod: Pod, context: DrainContext) -> Status:
    """System pods without a budget stay, at least for the first hour."""
    if pod.namespace != SYSTEM_NAMESPACE or context.budgets.covers(pod):
        return UNDEFINED
    if pod.created_s is not None and pod.created_s + context.options.system_pod_timeout_s < context.now_s:
        return DRAIN
    return _blocked(Blocker.SYSTEM_POD, f"{pod.key} is a system pod without a disruption budget")


def not_safe_to_evict(pod: Pod, _: DrainContext) -> Status:
    """Pods annotated as not safe to evict stay."""
    if pod.annotations.get(SAFE_TO_EVICT) == "false":
        return _blocked(Blocker.NOT_SAFE, f"{pod.key} is annotated as not safe to evict")
    return UNDEFINED


def local_storage(pod: Pod, _: DrainContext) -> Status:
    """Pods with data on the node stay, unless each such volume is named as safe to lose."""
    safe = pod.annotations.get(SAFE_VOLUMES, "").split(",")
    kept = [volume for volume in pod.local_volumes if volume not in safe]
    if kept:
        return _blocked(Blocker.LOCAL_STORAGE, f"{pod.key} keeps data on the node in volume {kept[0]}")
    return UNDEFINED


def budget(pod: Pod, context: DrainContext) -> Status:
    """Pods whose disruption budget is used up stay."""
    empty = context.budgets.exhausted(pod)
    if empty is None:
        return UNDEFINED
    return _blocked(Blocker.BUDGET, f"budget {empty.namespace}/{empty.name} lets no pod like {pod.key} go now")


def _blocked(blocker: Blocker, sentence: str) -> Status:
    return Status(Outcome.BLOCK, blocker, sentence)


def default_rules(options: DrainOptions) -> list[Rule]:
    """The rules that apply under these options, in order."""
    rules: list[tuple[Rule, bool]] = [
        (mirror, True),
        (long_terminating, True),
        (replica_count, options.keep_custom_controllers),
        (daemon_set, True),
        (safe_to_evict, True),
        (terminal, True),
        (on_completion, True),
        (replicated, True),
        (system, options.keep_system_pods),
        (not_safe_to_evict, True),
        (local_storage, options.keep_local_storage),
        (budget, True),
    ]
    return [rule for rule, applies in rules if applies]


def judge(rules: Sequence[Rule], pod: Pod, context: DrainContext) -> Status:
    """The first answer that decides; an answer with overrides waits for one that it beats."""
    waiting: list[Status] = []
    for rule in rules:
        status = rule(pod, context)
        if status.overrides:
            waiting.append(status)
            continue
        for held in waiting:
            if status.outcome in held.overrides:
                return held
        if status.outcome is not Outcome.UNDEFINED:
            return status
    return UNDEFINED
