"""Merges: the content of a snapshot that nobody wants moves up into the only layer that stands on it.

The layer above copies what it would read from there, guests going on, and then stands on what was below. A merge that a
kill or another change cut short has moved some and lost nothing; it is simply begun again.
"""

from typing import Any

from dpu_daemon.drivers.qsd.layers import Layer, layer_of
from dpu_daemon.drivers.qsd.session import QmpSession, RefusedError

PREFIX = "merge."
STOP_TIMEOUT_S = 10.0


class Merges:
    """Merging jobs of a storage daemon.

    Args:
        session: of the daemon.
    """

    def __init__(self, session: QmpSession) -> None:
        self._session = session

    async def running(self) -> frozenset[Layer]:
        """Layers whose content is being moved up."""
        jobs: list[dict[str, Any]] = await self._session.execute("query-jobs")
        names = (job["id"].removeprefix(PREFIX) for job in jobs if job["id"].startswith(PREFIX))
        return frozenset(layer for layer in map(layer_of, names) if layer is not None)

    async def begin(self, layer: Layer, above: Layer, below: tuple[str, str] | None) -> None:
        """Begins to move a layer's content into the one above.

        Args:
            layer: to be emptied.
            above: the only one that stands on it; open.
            below: node and path of what it stands on itself; None for nothing.
        """
        if layer in await self.running():
            return
        arguments = {"job-id": f"{PREFIX}{layer.name}", "device": above.name}
        if below is not None:
            arguments |= {"base-node": below[0], "backing-file": below[1]}
        await self._session.execute("block-stream", arguments)

    async def stop(self, layer: Layer) -> None:
        """Ends a merge, so that the chain can change; the next audit begins it again."""
        if layer not in await self.running():
            return
        job_id = f"{PREFIX}{layer.name}"
        try:
            await self._session.execute("job-cancel", {"id": job_id})
        except RefusedError:
            if layer in await self.running():
                raise

        async def ended() -> bool:
            return layer not in await self.running()

        await self._session.wait_until(
            ended, event="JOB_STATUS_CHANGE", timeout_s=STOP_TIMEOUT_S, waited_for=f"the merge of {layer.name} to stop"
        )
