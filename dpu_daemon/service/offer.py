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
    """

    file: ModuleType
    add: Callable[[Any, Any], None]
    service: object
