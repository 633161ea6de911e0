"""A volume as it is asked for, and whether one that is there is that one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coordinator.core.csi.capabilities import Capability, check_capabilities
from coordinator.core.csi.names import check_text, object_name
from coordinator.core.csi.parameters import Parameters, own_parameters, parse_parameters
from coordinator.core.csi.qos import apply_limits, parse_limits
from coordinator.core.csi.sizes import SizeRange
from coordinator.core.csi.sources import Origin, Source, choose_source
from coordinator.core.csi.topology import Requirement
from coordinator.core.objects.meta import API_VERSION, Json, Metadata
from coordinator.core.objects.storage import Qos, Volume
from coordinator.core.storage.size import parse_size, spell_size
from proto.errors import DpuError
from proto.reasons import Reason

NAME = "csi.dpupool.io/name"
"""Annotation: the name that the orchestrator gave."""
REQUEST = "csi.dpupool.io/request"
"""Annotation: what was asked for under that name, to be compared with a repeat."""
PROTOCOL = "csi.dpupool.io/protocol"
"""Annotation of a volume: how hosts see its disk; absent for what their DPU likes."""
BACKEND_CONTEXT = "dpupool.io/backend"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRequest:
    """CreateVolume's arguments, secrets aside."""

    name: str
    size: SizeRange = field(default_factory=SizeRange)
    capabilities: Sequence[Capability] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    mutable: Mapping[str, str] = field(default_factory=dict)
    content: Source = field(default_factory=Source)
    topology: Requirement = field(default_factory=Requirement)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeWish:
    """A request that makes sense."""

    name: str
    id: str
    size: SizeRange
    parameters: Parameters
    qos: Qos
    source: Source
    topology: Requirement
    fingerprint: str


def parse_volume(request: VolumeRequest) -> VolumeWish:
    """Make sense of a request.

    Raises:
        DpuError: INVALID or OUT_OF_RANGE; names the field.
    """
    check_text(request.name, "name")
    check_capabilities(request.capabilities)
    request.size.check()
    parameters = parse_parameters(request.parameters)
    return VolumeWish(
        name=request.name,
        id=object_name(request.name),
        size=request.size,
        parameters=parameters,
        qos=apply_limits(Qos(), parse_limits(request.mutable)),
        source=choose_source(request.content, parameters.image),
        topology=request.topology,
        fingerprint=_fingerprint(request),
    )


def choose_backend(wish: VolumeWish, origin: Origin, default: str) -> str:
    """The backend of a new volume: that of its source, which a class may name too; else the class's, or the default.

    Raises:
        DpuError: INVALID; the source is at another backend than the class says.
    """
    named = wish.parameters.backend
    if named and origin.backend and named != origin.backend:
        raise DpuError(
            Reason.INVALID,
            f"{wish.source.name} is at backend {origin.backend}, and the class names {named}",
            field="parameters[backend]",
            remedy=f"use a class of backend {origin.backend}",
        )
    return origin.backend or named or default


def volume_body(wish: VolumeWish, namespace: str, backend: str, size_bytes: int) -> Json:
    """The Volume object of a wish."""
    parameters = wish.parameters
    spec: Json = {"size": size_bytes, "backend": backend, "deletionPolicy": parameters.deletion_policy.value}
    if wish.source.json():
        spec["source"] = wish.source.json()
    if wish.qos != Qos():
        spec["qos"] = wish.qos.json()
    if parameters.encryption_secret:
        spec["encryption"] = {"secretRef": {"name": parameters.encryption_secret}}
    if parameters.own:
        spec["parameters"] = dict(parameters.own)
    notes = {NAME: wish.name, REQUEST: wish.fingerprint, **parameters.claim}
    if parameters.protocol:
        notes[PROTOCOL] = parameters.protocol.value
    metadata = {"name": wish.id, "namespace": namespace, "annotations": notes}
    return {"apiVersion": API_VERSION, "kind": "Volume", "metadata": metadata, "spec": spec}


def check_same_volume(wish: VolumeWish, found: Volume) -> None:
    """Refuse a wish whose name another volume has.

    Raises:
        DpuError: ALREADY_EXISTS; says in what they differ.
    """
    check_same_request(found.metadata, wish.name, wish.fingerprint)
    has = found.status.size_bytes or parse_size(found.spec.size, "spec.size")
    if not wish.size.holds(has):
        raise _other(wish.name, f"it has {spell_size(has)}, not {wish.size}", "capacity_range")


def check_same_request(found: Metadata, name: str, fingerprint: str) -> None:
    """Refuse a request whose name was given with other arguments.

    Raises:
        DpuError: ALREADY_EXISTS; names an argument that differs.
    """
    if found.annotations.get(NAME) != name:
        raise _other(name, f"object {found.name} was made by somebody else", "name")
    before, now = json.loads(found.annotations.get(REQUEST, "{}")), json.loads(fingerprint)
    for argument in sorted({*before, *now}):
        if before.get(argument) != now.get(argument):
            raise _other(name, f"it was asked for with {argument} {before.get(argument)}", argument)


def fingerprint_of(**arguments: object) -> str:
    """Arguments as a text that is equal when they are."""
    return json.dumps(arguments, sort_keys=True, separators=(",", ":"))


def _fingerprint(request: VolumeRequest) -> str:
    return fingerprint_of(
        parameters=own_parameters(request.parameters),
        mutable_parameters=dict(request.mutable),
        volume_content_source=request.content.json(),
    )


def _other(name: str, message: str, where: str) -> DpuError:
    remedy = "delete that one, or ask under another name"
    return DpuError(Reason.ALREADY_EXISTS, f"{name} is there already: {message}", field=where, remedy=remedy)
