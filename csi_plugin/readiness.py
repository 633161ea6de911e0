"""Whether the plug-in can do what it states, part by part, as Probe tells it."""

from dataclasses import dataclass, field
from enum import Enum


class Part(Enum):
    """What has to stand."""

    SOCKET = "CSI socket"
    REGISTRATION = "registration with kubelet"


class Standing(Enum):
    """How a part is, in rising order of trouble."""

    READY = 0
    STARTING = 1
    BROKEN = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """A standing and the sentence that explains it; empty when ready."""

    standing: Standing
    sentence: str = ""


@dataclass(slots=True)
class Readiness:
    """What was last seen of each part; a part that was never named is not asked for."""

    _parts: dict[Part, Finding] = field(default_factory=dict)

    def tell(self, part: Part, standing: Standing, sentence: str = "") -> bool:
        """Note what was seen; whether that is news."""
        found = Finding(standing, f"{part.value}: {sentence}" if sentence else "")
        news = self._parts.get(part) != found
        self._parts[part] = found
        return news

    def worst(self) -> Finding:
        """The worst of all parts; starting as long as nothing has been seen."""
        if not self._parts:
            return Finding(Standing.STARTING, "starting")
        return max(self._parts.values(), key=lambda found: found.standing.value)
