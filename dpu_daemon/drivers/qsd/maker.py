"""Makes qcow2 files through the daemon's jobs: they are its files, under its locks."""

import errno
import os
from pathlib import Path
from typing import Any

from dpu_daemon.drivers.qsd.session import QmpSession
from proto.errors import DpuError
from proto.reasons import Reason

JOB_TIMEOUT_S = 20.0
"""A clone takes some 20 ms whatever its size; only a full or dying disk takes longer."""

CONCLUDED = "concluded"
TOO_LARGE = os.strerror(errno.EFBIG)
"""A job tells no code, only words; these end with the C library's."""


class Qcow2Maker:
    """blockdev-create, job by job."""

    def __init__(self, session: QmpSession) -> None:
        self._session = session

    async def make(self, handle: str, path: Path, size_bytes: int, backing: tuple[Path, str] | None) -> None:
        """Writes an empty overlay, or an empty disk; whatever was at `path` is replaced.

        Args:
            handle: names the jobs and the node used meanwhile.
            path: of the file.
            size_bytes: virtual size.
            backing: file and format of the image under it.
        """
        await self.clear(handle)
        node = f"{handle}.new"
        await self._job(f"{handle}.file", {"driver": "file", "filename": str(path), "size": 0})
        await self._session.execute("blockdev-add", {"driver": "file", "filename": str(path), "node-name": node})
        options: dict[str, Any] = {"driver": "qcow2", "file": node, "size": size_bytes}
        if backing is not None:
            options |= {"backing-file": str(backing[0]), "backing-fmt": backing[1]}
        try:
            await self._job(f"{handle}.qcow2", options)
        finally:
            await self._session.execute("blockdev-del", {"node-name": node})

    async def clear(self, handle: str) -> None:
        """Ends what a killed predecessor of this process had begun."""
        for job in await self._session.execute("query-jobs"):
            if job["id"] in {f"{handle}.file", f"{handle}.qcow2"}:
                await self._finish(job["id"])
        nodes = await self._session.execute("query-named-block-nodes", {"flat": True})
        if any(node["node-name"] == f"{handle}.new" for node in nodes):
            await self._session.execute("blockdev-del", {"node-name": f"{handle}.new"})

    async def _job(self, job_id: str, options: dict[str, Any]) -> None:
        await self._session.execute("blockdev-create", {"job-id": job_id, "options": options})
        error = await self._finish(job_id)
        if error:
            raise _refusal(error)

    async def _finish(self, job_id: str) -> str:
        """Waits for a job, dismisses it, and returns its error."""
        seen: dict[str, Any] = {}

        async def concluded() -> bool:
            jobs = await self._session.execute("query-jobs")
            seen.update(next((job for job in jobs if job["id"] == job_id), {"status": CONCLUDED}))
            return bool(seen["status"] == CONCLUDED)

        await self._session.wait_until(
            concluded, event="JOB_STATUS_CHANGE", timeout_s=JOB_TIMEOUT_S, waited_for=f"job {job_id}"
        )
        if "id" in seen:
            await self._session.execute("job-dismiss", {"id": job_id})
        return str(seen.get("error", ""))


def _refusal(error: str) -> DpuError:
    if error.endswith(TOO_LARGE):
        message = f"a volume's file cannot be that large: {error}"
        return DpuError(Reason.OUT_OF_RANGE, message, field="size_bytes", remedy="ask for less")
    remedy = "look at the space, the permissions and the health of the volume directory"
    return DpuError(Reason.UNAVAILABLE, f"a volume's file could not be made: {error}", remedy=remedy)
