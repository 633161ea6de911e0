"""A fake SPDK process: everything volatile but what the fabric keeps."""

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.spdk.bdevs import Bdevs
from tests.fakes.spdk.fabric import Fabric
from tests.fakes.spdk.lvols import Lvols
from tests.fakes.spdk.nvme import Initiator
from tests.fakes.spdk.nvmf import Nvmf
from tests.fakes.spdk.refusal import INTERNAL, PARAMS, UNKNOWN_METHOD, WRONG_STATE, DiedError, RefusalError
from tests.fakes.spdk.secrets import Events, Keys
from tests.fakes.spdk.vhost import Vhost
from tests.fakes.spdk.wire import Wire

NEWER = (26, 5)
BEFORE_INIT = frozenset({"framework_start_init", "framework_wait_init", "spdk_get_version", "rpc_get_methods"})


class FakeSpdk:
    """One process.

    Args:
        socket: of its JSON-RPC server.
        fabric: what outlives it, shared with others.
        release: major and minor.
        tick_s: between two looks at its sockets; real ones take 0.004.
        attach_s: how long a connect to a remote target takes.
        without: methods that this build has not.
        most_subsystems: as set at its start, the discovery subsystem among them.
    """

    def __init__(
        self,
        socket: Path,
        fabric: Fabric | None = None,
        *,
        release: tuple[int, int] = (26, 9),
        tick_s: float = 0.0,
        attach_s: float = 0.0,
        without: frozenset[str] = frozenset(),
        most_subsystems: int = 1024,
    ) -> None:
        self.fabric = fabric or Fabric()
        self.release = release
        self.attach_s = attach_s
        self.running = False
        self.initialised = True
        self.log_bytes = 0
        self.crashed = ""
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        """Called before each method does its work: the place for faults of a test."""
        self.after: Callable[[str], None] = lambda _: None
        self._without = without
        self.most_subsystems = most_subsystems
        self._socket = socket
        self._tick_s = tick_s
        self._restarting = asyncio.Lock()
        self.fabric.initiators.append(self)
        self._reset()

    def _reset(self) -> None:
        self.events = Events()
        self.keyring: dict[str, str] = {}
        self.keys = Keys(self)
        self.nvmf = Nvmf(self)
        vhost_dir = self._socket.with_suffix(".vhost")
        vhost_dir.mkdir(exist_ok=True)
        self.vhost = Vhost(self, vhost_dir)
        self.lvols = Lvols(self)
        self.bdevs = Bdevs(self)
        self.initiator = Initiator(self)
        self._methods = self._collect()
        self._takes = {name: inspect.signature(call).parameters for name, call in self._methods.items()}
        newer = self.release >= NEWER
        self.wire = Wire(self._socket, self.answer, tick_s=self._tick_s, newer=newer)

    def _collect(self) -> dict[str, Callable[..., Any]]:
        parts = (self, self.bdevs, self.initiator, self.nvmf, self.vhost, self.lvols, self.keys, self.events)
        prefixes = ("bdev_", "nvmf_", "vhost_", "accel_", "notify_", "framework_", "spdk_", "rpc_", "keyring_")
        return {
            name: getattr(part, name)
            for part in parts
            for name in dir(part)
            if name.startswith(prefixes) and name not in self._without and inspect.isroutine(getattr(part, name))
        }

    async def start(self) -> None:
        self._reset()
        self.crashed = ""
        self.running = True
        await self.wire.start()

    async def kill(self) -> None:
        """SIGKILL: all state is gone, vfio-user sockets and the RPC socket stay behind."""
        self.running = False
        await self.wire.stop(killed=True)
        for at, process in list(self.fabric.listeners.items()):
            if process is self:
                del self.fabric.listeners[at]

    async def restart(self) -> None:
        async with self._restarting:
            await self.kill()
            await self.start()

    async def stop(self) -> None:
        self.running = False
        await self.wire.stop(killed=False)

    def crash(self, why: str) -> None:
        """What real ones do of themselves; the caller gets no answer."""
        self.crashed = why
        self.running = False
        raise DiedError

    def tell_initiators(self, nqn: str) -> None:
        """Other processes hear of changed namespaces within milliseconds."""
        for process in self.fabric.initiators:
            if process.running:
                process.initiator.notice(nqn)

    def secret(self, key: str) -> str:
        """What a key of the keyring says; read at each use."""
        path = Path(self.keyring.get(key, ""))
        return path.read_text(encoding="ascii").strip() if path.is_file() else ""

    async def answer(self, method: str, params: Any) -> Any:
        """One call, as the real server judges it."""
        if self.crashed:
            raise DiedError
        if method not in self._methods:
            raise RefusalError(UNKNOWN_METHOD, "Method not found")
        if not self.initialised and method not in BEFORE_INIT:
            raise RefusalError(WRONG_STATE, "Method may only be called after framework is initialized")
        call = self._methods[method]
        takes = self._takes[method]
        if not takes and params is not None:
            raise RefusalError(PARAMS, f"{method} requires no parameters")
        if not any(each.kind is each.VAR_KEYWORD for each in takes.values()) and set(params or {}) - set(takes):
            raise RefusalError(INTERNAL, "spdk_json_decode_object failed")
        self.calls.append(method)
        self.before(method)
        result = call(**(params or {}))
        result = await result if inspect.isawaitable(result) else result
        self.after(method)
        return result

    # ---- methods -------------------------------------------------------------------------------------------------

    def spdk_get_version(self) -> dict[str, Any]:
        major, minor = self.release
        fields = {"major": major, "minor": minor, "patch": 0, "suffix": ""}
        return {"version": f"SPDK v{major}.{minor:02d}", "fields": fields}

    def rpc_get_methods(self, *, current: bool = False, include_aliases: bool = True) -> list[str]:
        return sorted(self._methods)

    def framework_wait_init(self) -> bool:
        return True

    def framework_start_init(self) -> bool:
        if self.initialised:
            raise RefusalError(WRONG_STATE, "Method may only be called before framework is initialized.")
        self.initialised = True
        return True

    def framework_get_config(self, name: str) -> list[dict[str, Any]]:
        most = {"method": "nvmf_set_max_subsystems", "params": {"max_subsystems": self.most_subsystems}}
        return [most] if name == "nvmf" else []

    def keyring_file_add_key(self, name: str, path: str) -> bool:
        if name in self.keyring:
            raise RefusalError(-17, "File exists")
        file = Path(path)
        if not file.is_absolute() or not file.is_file() or file.stat().st_mode & 0o077:
            raise RefusalError(-1, "Operation not permitted")
        self.keyring[name] = path
        return True

    def keyring_file_remove_key(self, name: str) -> bool:
        if self.keyring.pop(name, None) is None:
            raise RefusalError(-2, "No such file or directory")
        return True

    def keyring_get_keys(self) -> list[dict[str, str]]:
        return [{"name": name, "module": "keyring_file", "path": path} for name, path in self.keyring.items()]
