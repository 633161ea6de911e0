"""Pods that get no port for now, as the coordinator last said of each node: what an ADD that waited in vain answers.

In memory: it is said again to a daemon that starts, and until then an ADD waits as it would without.
"""

from collections.abc import Iterable

from dpu_daemon.model.assignment import PortAsk, RefusedPod


class RefusedPods:
    """Why pods of nodes get no port."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, RefusedPod]] = {}

    def put(self, node: str, pods: Iterable[RefusedPod]) -> None:
        """Replace what was said of a node's pods."""
        found = {each.pod: each for each in pods}
        if found:
            self._of[node] = found
        else:
            self._of.pop(node, None)

    def why(self, node: str, ask: PortAsk) -> RefusedPod | None:
        """Why the pod of an ask gets nothing; None when nobody said so, or it was another pod of its name."""
        found = self._of.get(node, {}).get(f"{ask.pod_namespace}/{ask.pod_name}")
        if found is None or (ask.pod_uid and found.pod_uid and ask.pod_uid != found.pod_uid):
            return None
        return found
