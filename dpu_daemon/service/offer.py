"""A service as the server takes it."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class Offer:
    """One service.

    Attributes:
        file: the generated module that describes it.
        add: the generated function that adds it to a server.
        service: what answers.
        name: of the service, where its file describes others that are not offered; empty for all.
    """

    file: ModuleType
    add: Callable[[Any, Any], None]
    service: object
    name: str = ""

    def names(self) -> tuple[str, ...]:
        """Full names of what is offered."""
        described = self.file.DESCRIPTOR.services_by_name.values()
        return tuple(service.full_name for service in described if self.name in {"", service.name})
