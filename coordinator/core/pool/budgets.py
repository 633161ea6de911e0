"""What PodDisruptionBudgets still allow while a plan is being made."""

from collections.abc import Iterable, Sequence

from coordinator.core.pool.model import Budget, Pod
from coordinator.core.pool.scheduling import PodShape


class BudgetTracker:
    """Budgets, and how many more pods each lets go.

    Args:
        budgets: as observed.
    """

    def __init__(self, budgets: Iterable[Budget] = ()) -> None:
        self._budgets = list(budgets)
        self._left = [budget.allowed for budget in self._budgets]
        self._matches: dict[PodShape, tuple[int, ...]] = {}

    def copy(self) -> "BudgetTracker":
        """The same budgets with the same allowance, to try something out."""
        twin = BudgetTracker(self._budgets)
        twin._left, twin._matches = list(self._left), self._matches
        return twin

    def _of(self, pod: Pod) -> tuple[int, ...]:
        known = self._matches.get(pod.shape)
        if known is None:
            pairs = enumerate(self._budgets)
            known = self._matches[pod.shape] = tuple(
                at for at, b in pairs if b.namespace == pod.namespace and b.selector.matches(pod.labels)
            )
        return known

    def covers(self, pod: Pod) -> bool:
        """Whether any budget speaks of the pod."""
        return bool(self._of(pod))

    def exhausted(self, pod: Pod) -> Budget | None:
        """A budget that lets no more pods like this go, if there is one."""
        return next((self._budgets[at] for at in self._of(pod) if self._left[at] < 1), None)

    def allows_together(self, pods: Sequence[Pod]) -> bool:
        """Whether all these pods may go at the same time."""
        wanted = [0] * len(self._budgets)
        for pod in pods:
            for at in self._of(pod):
                wanted[at] += 1
        return all(need <= left for need, left in zip(wanted, self._left, strict=True) if need)

    def spend(self, pods: Iterable[Pod]) -> None:
        """Count these pods as gone."""
        for pod in pods:
            for at in self._of(pod):
                self._left[at] -= 1
