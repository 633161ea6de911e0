"""What a look at the machine says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        subject: what.
        passed: whether it is as it should be.
        says: what was seen.
        remedy: how to get it; empty when it passed.
    """

    subject: str
    passed: bool
    says: str
    remedy: str = ""
