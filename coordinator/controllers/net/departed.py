"""Pods of which the API itself has said that they are gone."""

from collections import OrderedDict
from collections.abc import Callable

GONE_KEPT = 4096
"""Their ports are looked at a few times until they are gone, too."""


class Departed:
    """By UID, which is given once: what the API had no more never comes back."""

    def __init__(self) -> None:
        self._uids: OrderedDict[str, None] = OrderedDict()
        self._listeners: list[Callable[[str], None]] = []

    def __contains__(self, uid: str) -> bool:
        return uid in self._uids

    def listen(self, listener: Callable[[str], None]) -> None:
        """Have `listener` told of each pod, by ``NAMESPACE/NAME``."""
        self._listeners.append(listener)

    def add(self, key: str, uid: str) -> None:
        """The API has no pod of this key and UID."""
        self._uids[uid] = None
        while len(self._uids) > GONE_KEPT:
            self._uids.popitem(last=False)
        for listener in self._listeners:
            listener(key)
