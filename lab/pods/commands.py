"""``bmctl lab pod``: run, rm, exec, list. What a kubelet and a container runtime do, without containers."""

import subprocess
import sys

import click

from lab import lifecycle, namespace
from lab.ca import Authority
from lab.client import LabApi
from lab.pods import running
from lab.pods.running import LabPod
from lab.settings import LabSettings, Layout
from proto.errors import DpuError
from proto.reasons import Reason

name_option = click.option("--name", "lab", default="dpl", show_default=True, help="Name of the lab.")


@click.group(help="Pods on the lab's nodes (bmctl lab up --pod-nodes 2): namespaces with a network by our CNI plug-in.")
def pod() -> None:
    """Group of the pods' commands."""


@pod.command()
@name_option
@click.option("--node", default=1, show_default=True, help="Number of the node.")
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label, for policies and services.")
@click.argument("pod_name", metavar="POD")
def run(lab: str, pod_name: str, node: int, labels: tuple[str, ...]) -> None:
    """Start a pod; prints its address."""
    settings, layout = _lab(lab)
    if not 1 <= node <= settings.pod_nodes:
        remedy = f"give 1 to {settings.pod_nodes}"
        raise DpuError(Reason.INVALID, f"there is no node {node} for pods", field="--node", remedy=remedy)
    wanted = dict(_label(one) for one in labels)
    with _api(settings, layout) as api:
        addresses = running.start(api, layout, LabPod(lab, pod_name, node), wanted)
    click.echo(f"{pod_name}\t{', '.join(addresses)}")


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise DpuError(Reason.INVALID, f"{text!r} is no label", field="--label", remedy="write KEY=VALUE")
    return key, value


@pod.command()
@name_option
@click.argument("pod_name", metavar="POD")
def rm(lab: str, pod_name: str) -> None:
    """End a pod; its address is free again."""
    settings, layout = _lab(lab)
    with _api(settings, layout) as api:
        found = api.get(api.path("v1", "Pod", pod_name, "default"))
        node = str((found or {}).get("spec", {}).get("nodeName", "node-1")).rpartition("-")[2]
        running.remove(api, layout, LabPod(lab, pod_name, int(node)))
    click.echo(f"{pod_name} is gone")


@pod.command("exec", context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("pod_name", metavar="POD")
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...")
def execute(lab: str, pod_name: str, words: tuple[str, ...]) -> None:
    """Run a program of this machine in a pod's network."""
    there = LabPod(lab, pod_name, 0).netns
    if not namespace.exists(there):
        raise DpuError(Reason.NOT_FOUND, f"no pod {pod_name} runs", field="POD", remedy="see bmctl lab pod list")
    sys.exit(subprocess.run(["nsenter", f"--net={namespace.NETNS_DIR / there}", *words], check=False).returncode)


@pod.command("list")
@name_option
def show(lab: str) -> None:
    """Show the pods that run."""
    settings, layout = _lab(lab)
    with _api(settings, layout) as api:
        for one in (api.get(api.path("v1", "Pod", namespace="default")) or {}).get("items", []):
            status = one.get("status", {})
            click.echo(f"{one['metadata']['name']}\t{one['spec'].get('nodeName', '')}\t{status.get('podIP', '-')}")


def _lab(name: str) -> tuple[LabSettings, Layout]:
    layout = Layout(name)
    settings = layout.read_settings()
    if settings is None:
        raise DpuError(Reason.NOT_FOUND, f"there is no lab {name}", remedy="bmctl lab up --pod-nodes 2")
    return settings, layout


def _api(settings: LabSettings, layout: Layout) -> LabApi:
    return LabApi(lifecycle.server_of(settings), Authority(layout.pki))
