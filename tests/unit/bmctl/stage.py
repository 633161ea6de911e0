"""The embedded API with bm-api in it, an actor who plays the controllers, and bmctl on top."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Condition, Thread
from typing import Any
from unittest.mock import patch

import httpx
from click.testing import CliRunner, Result

from bmctl.main import bmctl
from coordinator.api import resources
from coordinator.api.watching import Watcher
from coordinator.clients.kube import KubeApi
from coordinator.endpoints.objects import ApiObjects, Object
from coordinator.endpoints.service import BmApi
from coordinator.extensions import bm_api_group
from tests.fakes.api import COORDINATOR_TOKEN, RunningApi, running_api
from tests.unit.coordinator.endpoints.fakes import FakeDpus

PATIENCE_S = 60.0
MACHINES = "/apis/dpupool.io/v1alpha1/namespaces/default/baremetalmachines"


class LateObjects:
    """Objects of a server whose address is known only once it runs."""

    def __init__(self) -> None:
        self.kubeconfig = Path()
        self._api: KubeApi | None = None

    async def machine(self, namespace: str, name: str) -> Object:
        return await self._objects().machine(namespace, name)

    async def patch_machine(self, namespace: str, name: str, patch: Object) -> Object:
        return await self._objects().patch_machine(namespace, name, patch)

    async def host(self, name: str) -> Object:
        return await self._objects().host(name)

    async def attachment(self, namespace: str, name: str) -> Object:
        return await self._objects().attachment(namespace, name)

    async def dpu(self, name: str) -> Object:
        return await self._objects().dpu(name)

    async def network_node(self, name: str) -> Object:
        return await self._objects().network_node(name)

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        return await self._objects().secret(namespace, name)

    async def close(self) -> None:
        if self._api is not None:
            await self._api.close()

    def _objects(self) -> ApiObjects:
        if self._api is None:
            self._api = KubeApi.by_kubeconfig(str(self.kubeconfig))
        return ApiObjects(self._api)


class Watches:
    """Counts the watches that were begun: who waits for something begins one when it has asked for it."""

    def __init__(self) -> None:
        self.begun = 0
        self._news = Condition()

    def one_more(self) -> None:
        with self._news:
            self.begun += 1
            self._news.notify_all()

    def reach(self, number: int) -> None:
        """Wait until so many were begun."""
        with self._news:
            assert self._news.wait_for(lambda: self.begun >= number, PATIENCE_S), f"only {self.begun} watches"


@dataclass
class Stage:
    """What a test of bmctl needs.

    Attributes:
        api: the server.
        env: environment of bmctl.
        watches: of the server.
    """

    api: RunningApi
    env: Mapping[str, str] = field(default_factory=dict)
    watches: Watches = field(default_factory=Watches)

    def soon(self, act: Callable[[], Any], watch: int = 1) -> Thread:
        """An actor who acts once bmctl waits.

        Args:
            act: what he does.
            watch: of those that begin from now on, the one that he waits for.
        """
        number = self.watches.begun + watch

        def play() -> None:
            self.watches.reach(number)
            act()

        actor = Thread(target=play)
        actor.start()
        return actor

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        """bmctl with these arguments, standard output and standard error apart."""
        return CliRunner().invoke(bmctl, arguments, input=stdin, env=dict(self.env), catch_exceptions=False)

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        """What bmctl prints when it succeeds."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, status: int, *arguments: str, stdin: str | None = None) -> str:
        """What bmctl complains of when it ends with this exit status."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == status, result.output
        return result.stderr

    def machine(self, name: str = "bm-01", **spec: Any) -> Object:
        """Create a machine past bmctl."""
        body = {
            "apiVersion": "dpupool.io/v1alpha1",
            "kind": "BareMetalMachine",
            "metadata": {"name": name},
            "spec": {"image": "tiny", **spec},
        }
        return self.ask("POST", MACHINES, body)

    def status(self, status: Object, name: str = "bm-01") -> Object:
        """Play the machine controller: merge into the status, and agree with the newest spec."""
        generation = self.read(name)["metadata"]["generation"]
        body = {"status": {"observedGeneration": generation, **status}}
        return self.ask("PATCH", f"{MACHINES}/{name}/status", body)

    def read(self, name: str = "bm-01") -> Object:
        """A machine as it stands."""
        return self.ask("GET", f"{MACHINES}/{name}")

    def ask(self, method: str, path: str, body: Object | None = None) -> Object:
        """One request as administrator."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        with self.api.client() as client:
            reply: httpx.Response = client.request(method, path, json=body, headers={"Content-Type": kind})
        assert reply.is_success, reply.text
        found: Object = reply.json()
        return found


@contextmanager
def a_stage(folder: Path) -> Iterator[Stage]:
    """The server, until the block ends."""
    objects, watches = LateObjects(), Watches()

    class Counted(Watcher):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            watches.one_more()

    with (
        patch.object(resources, "Watcher", Counted),
        running_api(folder, extra=[bm_api_group(BmApi(objects, FakeDpus()))]) as api,
    ):
        objects.kubeconfig = api.write_kubeconfig(folder / "coordinator.yaml", {"token": COORDINATOR_TOKEN})
        try:
            yield Stage(api, {"KUBECONFIG": str(api.kubeconfig), "HOME": str(folder), "NO_COLOR": "1"}, watches)
        finally:
            api.run(objects.close)


def a_timeline(*phases: tuple[str, float], running: str = "") -> Sequence[Object]:
    """Finished phases with their seconds, and one that is under way."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    done = [
        {"phase": phase, "startedAt": now, "finishedAt": now, "seconds": seconds, "attempts": 1, "message": "done"}
        for phase, seconds in phases
    ]
    return [*done, {"phase": running, "startedAt": now, "attempts": 1}] if running else done
