"""What kubelet counts to pods: what it was just given, and what its own records say."""

from collections.abc import Callable, Mapping, Sequence

import structlog

from dpu_daemon.engine.vf_protocols import DeviceNotes, PodDevices
from dpu_daemon.model.vf import VfSeen
from proto.errors import DpuError

RECORDS_S = 15.0
"""Between two readings of kubelet's records."""
SURE_S = 60.0
"""After this time what was given stands in kubelet's records, or the pod never came."""
UNSURE_S = 600.0
"""Where there are no records: a pod whose container never came by then has failed."""

_log = structlog.get_logger("dpu_daemon.vfs")


class VfCounts:
    """Devices that kubelet counts to some pod.

    kubelet says when it gives a device, and never when it takes it back: its records do, and so does time.

    Args:
        records: kubelet's; None where they cannot be asked.
        notes: a file for each device that was given; they also tell after a restart what was. None for no files.
        clock: seconds that only rise.
    """

    def __init__(self, records: PodDevices | None, notes: DeviceNotes | None, clock: Callable[[], float]) -> None:
        self._records, self._notes, self._clock = records, notes, clock
        self._promised: dict[str, float] = {}
        self._owners: Mapping[str, str] | None = None
        self._read_at = self._heard_at = float("-inf")
        self._away = ""
        self._conflicts: frozenset[str] = frozenset()

    def recall(self) -> None:
        """After a start: what has a file was given."""
        for device_id in self._notes.device_ids() if self._notes else ():
            self._promised.setdefault(device_id, self._clock())

    async def close(self) -> None:
        """Let go of kubelet."""
        if self._records is not None:
            await self._records.close()

    def counted(self) -> frozenset[str]:
        """Ids of devices that are some pod's."""
        return frozenset(self._promised) | frozenset(self._owners or ())

    def owner(self, device_id: str) -> str:
        """``NAMESPACE/NAME`` of the pod by kubelet's records; empty when they do not say."""
        return (self._owners or {}).get(device_id, "")

    def promise(self, functions: Sequence[VfSeen]) -> None:
        """Kubelet gives these.

        Raises:
            DpuError: UNAVAILABLE, a file cannot be written; none counts as given then.
        """
        if self._notes is not None:
            for function in functions:
                self._notes.put(function)
        self._promised |= dict.fromkeys((function.device_id for function in functions), self._clock())

    async def refresh(self, held: Mapping[str, str]) -> None:
        """Read the records when it is time, and forget what is no pod's any more.

        Args:
            held: devices that containers have, and their pods.
        """
        now = self._clock()
        if self._records is not None and now >= self._read_at + RECORDS_S:
            await self._read(now)
            self._compare(held)
        for device_id, since in list(self._promised.items()):
            if self._is_over(device_id, since, now, held):
                del self._promised[device_id]
        if self._notes is not None:
            for device_id in self._notes.device_ids() - self.counted() - held.keys():
                self._notes.drop(device_id)

    async def settle(self) -> None:
        """Read the records unless they were asked for once: before anything is chosen after a start."""
        if self._read_at == float("-inf"):
            await self._read(self._clock())

    def _is_over(self, device_id: str, since: float, now: float, held: Mapping[str, str]) -> bool:
        """Whether what was given is no pod's any more; records that were never heard say nothing of it."""
        if self._records is None:
            return device_id not in held and now >= since + UNSURE_S
        return self._owners is not None and device_id not in self._owners and self._heard_at >= since + SURE_S

    async def _read(self, now: float) -> None:
        if self._records is None:
            return
        self._read_at = now
        try:
            self._owners = await self._records.owners()
        except DpuError as error:
            if not self._away:
                _log.warning(f"which pods have functions stays as last heard: {error}")
            self._away = str(error)
        else:
            self._away, self._heard_at = "", now

    def _compare(self, held: Mapping[str, str]) -> None:
        """Say where kubelet and the journal disagree: a pod that ended may keep its function until its DEL."""
        found = frozenset(
            f"kubelet counts {device} to {owner}, but a container of {held[device]} has it"
            for device, owner in (self._owners or {}).items()
            if held.get(device) and held[device] != owner
        )
        for sentence in sorted(found - self._conflicts):
            _log.warning(sentence)
        self._conflicts = found

    def conflicts(self) -> tuple[str, ...]:
        """Where kubelet and the journal disagree, in sentences."""
        return tuple(sorted(self._conflicts))
