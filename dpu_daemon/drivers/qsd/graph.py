"""What the daemon's queries say about its block nodes and exports; pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from dpu_daemon.model.disk import SeedFile, TargetAddress

NBD_TCP = "nbd+tcp"

INCOMPLETE = TargetAddress(transport="none", host="", port=0, export="")
"""Source of a disk whose making was cut short: nobody can want it, so the next plan makes the disk anew."""


class _Image(msgspec.Struct, rename="kebab"):
    virtual_size: int
    filename: str
    full_backing_filename: str = ""


class _Node(msgspec.Struct, rename="kebab"):
    node_name: str
    drv: str
    ro: bool
    image: _Image
    file: str = ""


class _Export(msgspec.Struct, rename="kebab"):
    id: str
    node_name: str
    shutting_down: bool


class Node(msgspec.Struct, frozen=True):
    """A block node: its driver, what it reads, its size in bytes, and what file it stands on."""

    name: str
    driver: str
    filename: str
    size_bytes: int
    read_only: bool
    backing: str = ""


class Export(msgspec.Struct, frozen=True):
    """An NBD export; `closing` while requests of its cut-off clients are still under way."""

    id: str
    node: str
    closing: bool


def nodes_in(answer: Any) -> dict[str, Node]:
    """Nodes by name, from query-named-block-nodes with flat."""
    return {
        raw.node_name: Node(
            raw.node_name,
            raw.drv,
            raw.image.filename,
            raw.image.virtual_size,
            raw.ro,
            raw.image.full_backing_filename,
        )
        for raw in msgspec.convert(answer, list[_Node])
    }


def exports_in(answer: Any) -> dict[str, Export]:
    """Exports by id, from query-block-exports."""
    return {raw.id: Export(raw.id, raw.node_name, raw.shutting_down) for raw in msgspec.convert(answer, list[_Export])}


def source_of(node: Node) -> TargetAddress | SeedFile:
    """What a node reads, as the model says it; INCOMPLETE for what this driver never makes."""
    if node.driver == "file":
        return SeedFile(path=node.filename)
    if node.driver != "nbd" or not node.filename.startswith("nbd://"):
        return INCOMPLETE
    host_and_port, _, export = node.filename.removeprefix("nbd://").partition("/")
    host, _, port = host_and_port.rpartition(":")
    if not port.isdigit():
        return INCOMPLETE
    return TargetAddress(transport=NBD_TCP, host=host.strip("[]"), port=int(port), export=export)


def names_ending(suffix: str, names: Iterable[str]) -> set[str]:
    """The beginnings of those names that end so."""
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix) and name != suffix}
