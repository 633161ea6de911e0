"""What is written on a node that leaves: the taint that keeps pods off it and says since when, the cordon, a note."""

import asyncio
from collections.abc import Callable

from coordinator.controllers.pool.hands import Hands
from coordinator.controllers.pool.sight import Sight
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from coordinator.core.pool.fields import seen_items, seen_mapping, seen_text
from proto.errors import DpuError
from proto.reasons import Reason

TAINT = "ToBeDeletedByClusterAutoscaler"
EMPTIED = "dpupool.io/emptied-at"
DELAY_PREFIX = "delay-deletion.cluster-autoscaler.kubernetes.io/"

TRIES = 10
PAUSE_S = 0.5
"""A node that others write at the same time is tried again for five seconds, as upstream does."""


def is_tainted(node: Json) -> bool:
    """Whether a node carries the taint of those that leave."""
    return any(taint.get("key") == TAINT for taint in seen_items(node, "spec", "taints"))


class Marks:
    """Reads and writes the marks of nodes, each from the newest version that is known."""

    def __init__(self, sight: Sight, hands: Hands) -> None:
        self._sight = sight
        self._hands = hands

    async def taint(self, name: str, now_s: float) -> None:
        """Taint and cordon a node; one that is gone is good.

        Raises:
            DpuError: it cannot be written.
        """
        mark = {"key": TAINT, "value": str(int(now_s)), "effect": "NoSchedule"}

        def change(node: Json) -> Json:
            taints, cordoned = _taints(node), seen_mapping(node, "spec").get("unschedulable") is True
            if is_tainted(node) and cordoned:
                return {}
            return {"spec": {"unschedulable": True, "taints": taints if is_tainted(node) else [*taints, mark]}}

        await self._amend(name, change)

    async def wipe(self, name: str) -> None:
        """Take the marks off; nothing of others' is touched."""

        def change(node: Json) -> Json:
            noted = EMPTIED in seen_mapping(node, "metadata", "annotations")
            if not is_tainted(node) and not noted:
                return {}
            left = [taint for taint in _taints(node) if taint.get("key") != TAINT]
            body: Json = {"spec": {"unschedulable": None, "taints": left or None}}
            return body | ({"metadata": {"annotations": {EMPTIED: None}}} if noted else {})

        await self._amend(name, change)

    def tainted_s(self, name: str, otherwise_s: float) -> float:
        """When a node was tainted, seconds since the epoch."""
        for taint in seen_items(self._sight[Foreign.NODE].get(name), "spec", "taints"):
            if taint.get("key") == TAINT:
                return _seconds(taint.get("value"), otherwise_s)
        return otherwise_s

    def delays(self, name: str) -> list[str]:
        """Whose annotations ask to delay the deletion of a node."""
        annotations = seen_mapping(self._sight[Foreign.NODE].get(name), "metadata", "annotations")
        return sorted(key.removeprefix(DELAY_PREFIX) for key in annotations if key.startswith(DELAY_PREFIX))

    async def emptied(self, name: str, now_s: float) -> float:
        """Since when a node is empty; noted on it when that is news."""
        known = seen_text(self._sight[Foreign.NODE].get(name), "metadata", "annotations", EMPTIED)
        if known:
            return _seconds(known, now_s)
        note = {"metadata": {"annotations": {EMPTIED: str(int(now_s))}}}
        await self._amend(name, lambda _: note)
        return now_s

    async def _amend(self, name: str, change: Callable[[Json], Json]) -> None:
        for turn in range(TRIES):
            node = self._sight[Foreign.NODE].get(name)
            body = change(node) if node is not None else {}
            if node is None or not body:
                return
            try:
                await self._hands.amend(Foreign.NODE, node, body)
            except DpuError as error:
                if error.reason is Reason.NOT_FOUND:
                    return
                if error.reason is not Reason.CONFLICT or turn == TRIES - 1:
                    raise
                await asyncio.sleep(PAUSE_S)
            else:
                return


def _taints(node: Json) -> list[Json]:
    return [dict(taint) for taint in seen_items(node, "spec", "taints")]


def _seconds(text: object, otherwise_s: float) -> float:
    return float(text) if isinstance(text, str) and text.isdecimal() and len(text) < 16 else otherwise_s
