"""Pods' networks and OVN as a part of the coordinator: put together."""

from collections.abc import Callable
from datetime import datetime

from prometheus_client import CollectorRegistry

from coordinator.clients.assignments import AssignmentDaemons
from coordinator.clients.kube import KubeApi
from coordinator.config import Config, ovn_files
from coordinator.controllers.context import Context
from coordinator.controllers.cpu.context import Store
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.net.context import NetCaches, NetContext
from coordinator.controllers.net.mirrors import NetMirrors
from coordinator.controllers.net.wiring import NetControllers, OvnPlace
from coordinator.controllers.wiring import Controllers


def net_controllers(
    settings: Config,
    api: KubeApi,
    door: Store,
    machines: tuple[Context, Controllers],
    daemons: AssignmentDaemons,
    metrics: tuple[ControllerMetrics, CollectorRegistry],
    clock: Callable[[], datetime],
) -> NetControllers:
    """The controllers, over the caches that the machines' controllers fill.

    Args:
        door: for ports: the API's store itself where it is in this process.
        daemons: clients of the daemons of NetworkNodes.
    """
    shared, controllers = machines
    context = NetContext(
        api=api,
        mirrors=NetMirrors(api),
        events=shared.events,
        clock=clock,
        outside=daemons,
        door=door,
        caches=NetCaches(shared.caches),
        namespace=settings.secrets_namespace,
    )
    asked = settings.ovn
    place = OvnPlace(remotes=asked.northbound, tls=ovn_files(settings), registry=metrics[1])
    return NetControllers(
        context,
        api,
        metrics[0],
        shared=controllers.wait_synced,
        place=place if asked.northbound else None,
        ground=shared.ground,
    )
