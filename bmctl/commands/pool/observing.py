"""What a pool command looks at: a dump, or the live cluster; and the pools that are to serve it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from bmctl.api import Api, open_api
from bmctl.commands.pool.clock import time_of
from bmctl.commands.pool.live_pools import groups_of
from bmctl.commands.pool.sources import document_of, named
from bmctl.invocation import Invocation
from bmctl.kinds import Kind
from bmctl.objects import Object
from coordinator.core.pool.daemons import daemons_of
from coordinator.core.pool.definitions import with_groups
from coordinator.core.pool.dump import read_dump
from coordinator.core.pool.observation import Observation
from proto.errors import DpuError
from proto.reasons import Reason


def _kind(kind: str, group: str, plural: str, *, namespaced: bool = True) -> Kind:
    return Kind(kind, group, "v1", plural, namespaced)


_NEEDED = (_kind("Node", "", "nodes", namespaced=False), _kind("Pod", "", "pods"))
_WELCOME = (
    _kind("PodDisruptionBudget", "policy", "poddisruptionbudgets"),
    _kind("PersistentVolumeClaim", "", "persistentvolumeclaims"),
    _kind("PersistentVolume", "", "persistentvolumes", namespaced=False),
    _kind("ReplicationController", "", "replicationcontrollers"),
    _kind("ReplicaSet", "apps", "replicasets"),
    _kind("StatefulSet", "apps", "statefulsets"),
    _kind("DaemonSet", "apps", "daemonsets"),
    _kind("Job", "batch", "jobs"),
)


def observe(invocation: Invocation, dump: str | None, definitions: str | None) -> Observation:
    """The dump when one is given, else the cluster that the kubeconfig names; with the pools of a file.

    Raises:
        DpuError: a file or the server refused; the message names file, object and field.
    """
    seen = read(dump) if dump else live(invocation)
    return seen if definitions is None else joined(seen, definitions)


def read(dump: str) -> Observation:
    """A dump's objects, looked at a minute after the newest of them."""
    document = document_of(dump)
    with named(dump):
        seen = read_dump(document, 0.0)
    return replace(seen, now_s=time_of(_objects(seen)))


def joined(seen: Observation, definitions: str) -> Observation:
    """What was seen with the pools of a file, each node in the first pool that claims it."""
    document = document_of(definitions)
    with named(definitions):
        return with_groups(document, seen)


def live(invocation: Invocation) -> Observation:
    """The cluster's objects and ServerPools now; kinds that the server does not have are left out.

    Raises:
        DpuError: nodes and pods cannot be listed.
    """
    with open_api(invocation) as api:
        items = [_items(api, kind) for kind in _NEEDED]
        items += [_items_if_any(api, kind) for kind in _WELCOME]
        groups = groups_of(api)
    seen = read_dump({"items": list(chain.from_iterable(items))}, time.time(), groups)
    daemons = daemons_of([group.nodes for group in groups], seen.pods)
    return replace(seen, groups=[replace(group, daemon_pods=own) for group, own in zip(groups, daemons, strict=True)])


def _items(api: Api, kind: Kind) -> list[Object]:
    listed: list[Any] = api.list(kind, everywhere=True).get("items") or []
    return [{"kind": kind.kind, **item} for item in listed]


def _items_if_any(api: Api, kind: Kind) -> list[Object]:
    try:
        return _items(api, kind)
    except DpuError as error:
        if error.reason is Reason.NOT_FOUND:
            return []
        raise


def _objects(seen: Observation) -> list[Object]:
    found: Sequence[Sequence[Object]] = (seen.nodes, seen.pods, seen.budgets)
    return list(chain.from_iterable(found))
