"""Paths and answers of the placement service."""

import json
from enum import Enum

import click

from bmctl.objects import Object
from bmctl.output import Output, to_yaml

ROOT = "/apis/placement.dpupool.io/v1alpha1"
FORMATS = click.Choice([Output.JSON.value, Output.YAML.value])


def placements(namespace: str, name: str = "", action: str = "") -> str:
    """Path of the placements of a namespace, of one, or of an action on it."""
    parts = [f"{ROOT}/namespaces/{namespace}/placements", name, action]
    return "/".join(part for part in parts if part)


def explanations(namespace: str) -> str:
    """Path that explanations are asked of."""
    return f"{ROOT}/namespaces/{namespace}/explanations"


def node_path(node: str) -> str:
    """Path of a node that is written as NODE or CLUSTER/NODE."""
    return f"{ROOT}/nodes/{node.replace('/', ':')}"


def dumped(answer: Object, output: str) -> str:
    """An answer as JSON or YAML."""
    if output == Output.JSON.value:
        return json.dumps(answer, indent=2, ensure_ascii=False)
    return to_yaml(answer).rstrip("\n")


class Use(Enum):
    """What a CPU is for."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"
    RESERVED = "reserved"
