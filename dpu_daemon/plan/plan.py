"""What a decision is: ordered steps and one sentence why."""

from dataclasses import dataclass

from dpu_daemon.plan.steps import Step


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps from what is seen to what is wanted; none when all is right.

    Attributes:
        steps: in dependency order.
        why: one sentence, for the log line, the event and the message of the object.
        hopeless: what is missing cannot be made by any step; `why` says what.
    """

    steps: tuple[Step, ...]
    why: str
    hopeless: bool = False

    @staticmethod
    def nothing(why: str) -> "Plan":
        """Nothing to do."""
        return Plan((), why)

    @property
    def settled(self) -> bool:
        """Whether what is seen is what is wanted."""
        return not self.steps and not self.hopeless
