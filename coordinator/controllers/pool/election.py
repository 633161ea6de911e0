"""One leader among the coordinators, by a Lease; who has lost it stops writing before another may begin."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from coordinator.controllers.pool.access import ClusterApi
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from proto.errors import DpuError
from proto.reasons import Reason

NAME = "dpupool-autoscaler"


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionTiming:
    """Seconds.

    Attributes:
        lease_s: how long a leader that is silent stays leader in the eyes of the others.
        renew_s: a leader that could not renew for so long considers itself deposed; shorter than `lease_s`.
        retry_s: between tries.
    """

    lease_s: int = 15
    renew_s: float = 10.0
    retry_s: float = 2.0


class Election:
    """Holds the Lease while it can.

    Others' clocks are not believed: a Lease is free when its renewal has not changed for as long as it is valid, by
    our own clock, as client-go does it.

    Args:
        identity: name of this process, different from all others.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        api: ClusterApi,
        identity: str,
        monotonic: Callable[[], float],
        *,
        namespace: str = "default",
        timing: ElectionTiming | None = None,
    ) -> None:
        self._api = api
        self._identity = identity
        self._monotonic = monotonic
        self._namespace = namespace
        self._timing = timing or ElectionTiming()
        self._renewed: float | None = None
        self._seen = ""
        self._seen_at = 0.0

    @property
    def leading(self) -> bool:
        """Whether writes are allowed now."""
        return self._renewed is not None and self._monotonic() < self._renewed + self._timing.renew_s

    async def campaign(self) -> bool:
        """Take or renew the Lease; whether we lead.

        Raises:
            DpuError: the API does not answer; `leading` stays true until it is too long ago.
        """
        asked = self._monotonic()
        try:
            found = await self._api.get(Foreign.LEASE, NAME, self._namespace)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
            return await self._won(asked, self._api.create(Foreign.LEASE, self._body({})))
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in {"", self._identity} and not self._expired(found, spec):
            self._renewed = None
            return False
        body = self._body(spec) | {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}}
        return await self._won(asked, self._api.patch(Foreign.LEASE, NAME, body, self._namespace))

    async def resign(self) -> None:
        """Let another lead at once."""
        if self._renewed is None:
            return
        self._renewed = None
        found = await self._api.get(Foreign.LEASE, NAME, self._namespace)
        if (found.get("spec") or {}).get("holderIdentity") != self._identity:
            return
        version = found["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": ""}}
        await self._api.patch(Foreign.LEASE, NAME, body, self._namespace)

    async def run(self, told: Callable[[DpuError], None]) -> None:
        """Campaign until cancelled."""
        while True:
            try:
                await self.campaign()
            except DpuError as error:
                told(error)
            await asyncio.sleep(self._timing.retry_s)

    async def _won(self, asked: float, write: Awaitable[Json]) -> bool:
        try:
            await write
        except DpuError as error:
            if error.reason not in {Reason.CONFLICT, Reason.ALREADY_EXISTS}:
                raise
            self._renewed = None
            return False
        self._renewed = asked
        return True

    def _expired(self, found: Json, spec: Json) -> bool:
        version = found["metadata"]["resourceVersion"]
        if version != self._seen:
            self._seen, self._seen_at = version, self._monotonic()
            return False
        return self._monotonic() >= self._seen_at + float(spec.get("leaseDurationSeconds") or self._timing.lease_s)

    def _body(self, before: Json) -> Json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        same = before.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._timing.lease_s,
            "renewTime": now,
            "acquireTime": before.get("acquireTime", now) if same else now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not same),
        }
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": self._namespace},
            "spec": spec,
        }
