"""Keeps a device plug-in known to kubelet, whatever restarts, empties its directory, hangs up, or is not there yet."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import structlog
from asyncinotify import Inotify, Mask

from dpu_daemon.service.device_plugin import options
from proto.deviceplugin.v1beta1 import api_pb2, api_pb2_grpc
from proto.errors import DpuError
from proto.reasons import Reason

KUBELET = "kubelet.sock"
"""kubelet's own socket in its directory; it makes a new one at each start, and removes all others."""
VERSION = "v1beta1"
REGISTER_S = 5.0
LOOK_S = 5.0
UNHEARD_LOOKS = 3
"""Without kubelet following the list, before it is told of us again; it has 10 s to call back."""
FIRST_RETRY_S = 0.5
LAST_RETRY_S = 30.0
_EVENTS = Mask.CREATE | Mask.DELETE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR
_PRIVATE = 0o177
"""Mask that leaves our socket to root, as kubelet is."""
_OPTIONS = (("grpc.default_authority", "localhost"),)

_log = structlog.get_logger("dpu_daemon.kubelet")

_Identity = tuple[int, int, int]
"""A file's device, inode and time of change: an inode's number alone is soon used again."""


class DevicePluginServer:
    """Serves a device plug-in in kubelet's directory.

    Args:
        directory: kubelet's, of device plug-ins.
        resource: name under which kubelet counts the devices.
        register: adds the service to a server.
        watched: whether kubelet follows the service's list of devices now.
        interceptors: of that server.
        look_s: between two looks at the directory when the kernel tells of no change in it.
    """

    def __init__(
        self,
        directory: Path,
        resource: str,
        register: Callable[[grpc.aio.Server], None],
        watched: Callable[[], bool],
        interceptors: tuple[grpc.aio.ServerInterceptor, ...] = (),
        look_s: float = LOOK_S,
    ) -> None:
        self._look_s = look_s
        self._directory, self._resource, self._register = directory, resource, register
        self._watched, self._interceptors = watched, interceptors
        self.path = directory / f"dpupool-{resource.replace('/', '_')}.sock"
        self._server: grpc.aio.Server | None = None
        self._served: _Identity | None = None
        self._known_to: _Identity | None = None
        self._heard_at = 0.0
        self._retry_s = 0.0
        self._trouble = ""
        self._running: asyncio.Task[None] | None = None

    def start(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Serve and register from now on.

        Args:
            ready: awaited first; kubelet must not be told of no devices before they were looked at.
        """
        self._running = asyncio.get_running_loop().create_task(self._run(ready), name="be known to kubelet")

    async def stop(self) -> None:
        """Remove the socket; kubelet then keeps the devices for those who have them, and gives none away."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        await self._end()

    async def _run(self, ready: Callable[[], Awaitable[None]]) -> None:
        await ready()
        while True:
            if not self._directory.is_dir():
                self._note(f"kubelet's directory {self._directory} is not there")
                await self._end()
                await asyncio.sleep(self._look_s)
                continue
            try:
                await self._tend()
            except OSError as error:
                self._note(f"{self._directory} cannot be watched: {error.strerror}; it is looked at instead")
                await self._keep()
                await asyncio.sleep(self._pause_s())

    async def _tend(self) -> None:
        """Until the directory goes away."""
        with Inotify() as inotify:
            inotify.add_watch(self._directory, _EVENTS)
            while True:
                await self._keep()
                try:
                    event = await asyncio.wait_for(inotify.get(), self._pause_s())
                except TimeoutError:
                    continue
                if event.mask & (Mask.IGNORED | Mask.DELETE_SELF | Mask.MOVE_SELF):
                    return

    def _pause_s(self) -> float:
        return self._retry_s or self._look_s

    async def _keep(self) -> None:
        """Serve where we do not, and register with a kubelet that has not heard of us."""
        try:
            if self._served is None or _identity(self.path) != self._served:
                await self._serve()
            await self._be_known()
        except DpuError as error:
            self._retry_s = min(LAST_RETRY_S, self._retry_s * 2 or FIRST_RETRY_S)
            self._note(str(error))
        else:
            self._retry_s = 0.0

    async def _serve(self) -> None:
        await self._end()
        server = grpc.aio.server(interceptors=self._interceptors, options=[("grpc.so_reuseport", 0)])
        self._register(server)
        before = os.umask(_PRIVATE)  # nothing else runs until it is put back: binding does not await
        try:
            self.path.unlink(missing_ok=True)
            server.add_insecure_port(f"unix:{self.path}")
        except (OSError, RuntimeError) as error:
            await server.stop(0)
            remedy = f"look at {self._directory}"
            raise DpuError(
                Reason.UNAVAILABLE, f"no socket can be made at {self.path}: {error}", remedy=remedy
            ) from error
        finally:
            os.umask(before)
        self._server = server  # before the first wait, so that it is ended whatever happens in it
        await server.start()
        self._served = _identity(self.path)

    async def _be_known(self) -> None:
        kubelet = _identity(self._directory / KUBELET)
        if kubelet is None:
            self._known_to = None
            self._note("kubelet is not there")
            return
        if kubelet == self._known_to and self._is_followed():
            return
        request = api_pb2.RegisterRequest(
            version=VERSION, endpoint=self.path.name, resource_name=self._resource, options=options()
        )
        try:
            async with grpc.aio.insecure_channel(f"unix:{self._directory / KUBELET}", options=_OPTIONS) as channel:
                await api_pb2_grpc.RegistrationStub(channel).Register(request, timeout=REGISTER_S)
        except grpc.aio.AioRpcError as error:
            message = f"kubelet does not take {self._resource}: {error.code().name}: {error.details()}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="see kubelet's log") from error
        self._known_to, self._heard_at = kubelet, asyncio.get_running_loop().time()
        self._trouble = ""
        _log.info("registered with kubelet", resource=self._resource, socket=str(self.path))

    def _is_followed(self) -> bool:
        """Whether kubelet follows the list of devices, or began to do something else a moment ago.

        It takes a registration before it calls back, and never calls again when that fails or its stream breaks off:
        all devices are unhealthy then, until somebody registers anew.
        """
        now = asyncio.get_running_loop().time()
        if self._watched():
            self._heard_at = now
        return now < self._heard_at + UNHEARD_LOOKS * self._look_s

    async def _end(self) -> None:
        self._served = self._known_to = None
        if self._server is not None:
            await self._server.stop(0)
            self._server = None  # not before: whoever is cancelled in the wait leaves the rest to stop()

    def _note(self, trouble: str) -> None:
        """Say it once: a node without a kubelet is fine, and one that restarts takes a while."""
        if trouble != self._trouble:
            _log.info(f"{trouble}; waiting for it", resource=self._resource)
        self._trouble = trouble


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns
