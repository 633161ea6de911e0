"""What is there before anybody asks: namespaces and the custom kinds' own definitions."""

from collections.abc import Sequence

from coordinator.api.builtin import CRD_STORAGE
from coordinator.api.crds import established
from coordinator.api.deletes import DeleteOptions, delete
from coordinator.api.objects import Key, Obj, now, timestamp
from coordinator.api.shaping import NAMESPACES
from coordinator.api.writes import Options, Writes

INITIAL_NAMESPACES = ("default", "kube-system")
_SEEDER = Options(manager="dpu-coordinator")


async def seed(writes: Writes, manifests: Sequence[Obj]) -> None:
    """Create what is missing, bring definitions up to date, drop those whose manifest is gone.

    Args:
        writes: to the store, which takes writes already.
        manifests: CRDs as loaded.

    Raises:
        ApiError: 507 or 500, the store refused.
    """
    namespaces = writes.registry.get("", "v1", "namespaces")
    for name in INITIAL_NAMESPACES:
        if writes.store.get(Key(NAMESPACES, "", name)) is None:
            await writes.create(namespaces, "", {"metadata": {"name": name}}, _SEEDER)
    for manifest in manifests:
        await _define(writes, manifest)
    kind = writes.registry.get("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    wanted = {manifest["metadata"]["name"] for manifest in manifests}
    for record in list(writes.store.scan(CRD_STORAGE)):
        if record.key.name not in wanted:
            await delete(writes.store, kind, record.key, DeleteOptions())


async def _define(writes: Writes, manifest: Obj) -> None:
    kind = writes.registry.get("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    key = Key(CRD_STORAGE, "", manifest["metadata"]["name"])
    record = writes.store.get(key)
    if record is None:
        await writes.create(kind, "", established(manifest, timestamp(now())), _SEEDER)
        return

    def edit(live: Obj) -> Obj:
        return established(manifest, live["metadata"]["creationTimestamp"]) | {"metadata": live["metadata"]}

    await writes.update(kind, key, edit, _SEEDER)
