"""The DPU of this host as a SwitchSide: one kept channel, and a look at whether it lives while it is waited for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog

from dpu_daemon.drivers import peer_wire
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.assignment import Assignment, Holder, PortAsk, PortGrant
from proto.dpu.v1 import pods_pb2, pods_pb2_grpc
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")
OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
)
"""A channel that is never used long enough to go stale: an ADD must not pay for the handshake."""
OLD_CHANNEL_S = 60.0
"""For calls that run on a channel while its certificate is replaced."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTls:
    """Files that say who this host is, and whom it believes."""

    ca: Path
    cert: Path
    key: Path

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Another one when a file was replaced."""
        return tuple((found.st_ino, found.st_mtime_ns) for found in (f.stat() for f in (self.ca, self.cert, self.key)))

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files."""
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), self.key.read_bytes(), self.cert.read_bytes())


class DpuPeer:
    """SwitchSide and Driver.

    Args:
        name: of the DPU, for messages.
        address: ``address:port`` or ``unix:PATH``.
        server_name: that its certificate must carry.
        tls: None on a Unix socket.
        silent_s: a DPU that is silent for so long is dead.
    """

    def __init__(self, name: str, address: str, server_name: str, tls: PeerTls | None, silent_s: float) -> None:
        self._who = f"DPU {name} ({address})"
        self._address, self._server_name, self._tls = address, server_name, tls
        self._silent_s = silent_s
        self._channel: grpc.aio.Channel | None = None
        self._stamp: tuple[tuple[int, int], ...] = ()
        self._lost: Lost = lambda _: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._version = ""

    async def start(self, lost: Lost) -> None:
        self._lost = lost
        self._open()

    async def stop(self) -> None:
        channel, self._channel = self._channel, None
        for task in tuple(self._tasks):
            task.cancel()
        if channel is not None:
            await channel.close()

    def version(self) -> str:
        return self._version

    def acquire(self, ask: PortAsk, deadline: Deadline) -> AsyncIterator[PortGrant]:
        return self._acquire(ask, deadline)

    async def _acquire(self, ask: PortAsk, deadline: Deadline) -> AsyncIterator[PortGrant]:
        """The stream; to end it is to cancel the call, which tells the DPU to undo."""
        call = self._stub().AcquirePort(peer_wire.from_ask(ask), timeout=max(deadline.left_s(), 0.001))
        try:
            while True:
                answer = await self._alive(call.read())
                if answer is grpc.aio.EOF:
                    return
                yield peer_wire.to_grant(answer)
        finally:
            call.cancel()

    async def offered(self, ask: PortAsk, deadline: Deadline) -> Assignment:
        answer = await self._ask("AwaitPort", peer_wire.from_ask(ask), deadline)
        return peer_wire.to_assignment(answer.assignment)

    async def release(self, holder: Holder, deadline: Deadline) -> str:
        request = pods_pb2.ReleasePortRequest(container_id=holder.container_id, interface=holder.interface)
        answer = await self._ask("ReleasePort", request, deadline)
        return str(answer.outcome)

    async def check(self, holder: Holder, deadline: Deadline) -> Assignment:
        request = pods_pb2.CheckPortRequest(container_id=holder.container_id, interface=holder.interface)
        return peer_wire.to_assignment((await self._ask("CheckPort", request, deadline)).assignment)

    async def collect(self, valid: frozenset[Holder], deadline: Deadline) -> tuple[str, ...]:
        named = [pods_pb2.Holder(container_id=each.container_id, interface=each.interface) for each in sorted(valid)]
        answer = await self._ask("CollectPorts", pods_pb2.CollectPortsRequest(valid=named), deadline)
        return tuple(answer.released)

    async def ready(self, deadline: Deadline) -> None:
        await self._probe(min(self._silent_s, deadline.left_s()))

    async def _ask(self, method: str, request: Any, deadline: Deadline) -> Any:
        call = getattr(self._stub(), method)(request, timeout=max(deadline.left_s(), 0.001))
        try:
            return await self._alive(call)
        finally:
            call.cancel()

    async def _alive(self, answer: Awaitable[T]) -> T:
        """Wait for an answer for as long as the DPU shows that it lives.

        Raises:
            DpuError: what the DPU says, or UNAVAILABLE by its name within `silent_s`.
        """
        waiting = asyncio.ensure_future(answer)
        try:
            while not (await asyncio.wait({waiting}, timeout=self._silent_s / 2))[0]:
                await self._probe(self._silent_s / 2, unless=waiting)
            return waiting.result()
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and peer_wire.is_silence(error):
                raise self._late() from error
            raise peer_wire.translate(error, self._who) from error
        except asyncio.CancelledError:
            if waiting.cancelled() and not _is_cancelling():
                raise self._silent("the call was cancelled") from None
            raise
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait({waiting})

    async def _probe(self, seconds: float, unless: "asyncio.Future[Any] | None" = None) -> None:
        """Ask whether it is ready; while something is waited for, any answer is one.

        Raises:
            DpuError: UNAVAILABLE when there is none, and without `unless` what the DPU says.
        """
        request = pods_pb2.GetReadinessRequest()
        try:
            await self._stub().GetReadiness(request, timeout=max(seconds, 0.001))
        except grpc.aio.AioRpcError as error:
            if unless is None:
                raise self._told_silent(error, seconds) from error
            if not unless.done() and peer_wire.is_silence(error):
                raise self._told_silent(error, self._silent_s) from error

    def _told_silent(self, error: grpc.aio.AioRpcError, seconds: float) -> DpuError:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and peer_wire.is_silence(error):
            return self._silent(f"no answer within {seconds:g} s")
        return peer_wire.translate(error, self._who)

    def _late(self) -> DpuError:
        """It lives, as it was asked all the while; what it waits for its own log tells."""
        remedy = "see the daemon's log there for what it waited for; the call may be repeated"
        return DpuError(Reason.DEADLINE, f"{self._who} did not finish in time", remedy=remedy)

    def _silent(self, why: str) -> DpuError:
        remedy = f"see that {self._who} is powered, reachable from this host, and runs dpu-daemon"
        return DpuError(Reason.UNAVAILABLE, f"{self._who} does not answer: {why}", remedy=remedy)

    def _stub(self) -> Any:
        """Over the channel; over a new one when the certificate was replaced."""
        if self._channel is None or (self._tls is not None and self._fresh_stamp() != self._stamp):
            self._open()
        return pods_pb2_grpc.PodPortServiceStub(self._channel)

    def _fresh_stamp(self) -> tuple[tuple[int, int], ...]:
        try:
            return self._tls.stamp() if self._tls is not None else ()
        except OSError:
            return self._stamp

    def _open(self) -> None:
        old, fresh = self._channel, self._connect()
        self._channel = fresh
        self._keep(self._watch(fresh))
        if old is not None:
            self._keep(_close_later(old))

    def _connect(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self._address, options=OPTIONS)
        try:
            self._stamp, credentials = self._tls.stamp(), self._tls.credentials()
        except OSError as error:
            message = f"the certificate for {self._who} cannot be read: {error}"
            raise DpuError(Reason.UNAVAILABLE, message, field="dpu.tls", remedy="correct the files") from error
        options = (*OPTIONS, ("grpc.ssl_target_name_override", self._server_name))
        return grpc.aio.secure_channel(self._address, credentials, options=options)

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_kept(self, channel: grpc.aio.Channel) -> bool:
        return channel is self._channel

    async def _watch(self, channel: grpc.aio.Channel) -> None:
        """Keep the channel connected, and alarm when the DPU comes back: releases wait for it."""
        was_away = False
        while self._is_kept(channel):
            state = channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.SHUTDOWN:
                return
            if state is grpc.ChannelConnectivity.READY:
                self._version = self._who
                if was_away:
                    was_away = False
                    self._lost(f"{self._who} answers again")
            elif state is grpc.ChannelConnectivity.TRANSIENT_FAILURE and not was_away:
                was_away = True
                _log.warning(f"{self._who} is away")
            await channel.wait_for_state_change(state)


async def _close_later(channel: grpc.aio.Channel) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await channel.close(OLD_CHANNEL_S)


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
