"""bmctl volume create and clone."""

from dataclasses import dataclass
from typing import Any

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.commands.create import finish
from bmctl.commands.volume.finding import size_of, spelled
from bmctl.commands.volume.limits import Limits, limiting, merged, said
from bmctl.completing import names_of
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import IMAGE, SNAPSHOT, VOLUME
from bmctl.objects import Object, dig, name_of
from bmctl.waiting import waitable
from coordinator.core.storage.size import parse_size
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True)
class Origin:
    """What a clone stands on, and what it takes over from it.

    Attributes:
        field: of spec.source, such as ``imageRef``; empty for a blank volume.
        name: of the object.
        size_bytes: least size of a clone; 0 while it is not known.
        backend: where it is.
        secret: Secret that it is encrypted with; empty for none.
    """

    field: str = ""
    name: str = ""
    size_bytes: int = 0
    backend: str = "file"
    secret: str = ""


@dataclass(frozen=True)
class Wanted:
    """What the command line says of a new volume."""

    name: str
    size: str | None
    backend: str | None
    secret: str | None
    shred: bool
    limits: Limits
    parameters: dict[str, str]

    def manifest(self, origin: Origin) -> Object:
        """The Volume.

        Raises:
            DpuError: INVALID; the size is missing, wrong, or less than that of the source.
        """
        spec: Object = {"size": self._size(origin), "backend": self.backend or origin.backend}
        if origin.field:
            spec["source"] = {origin.field: {"name": origin.name}}
        secret = self.secret or origin.secret
        if secret:
            spec["encryption"] = {"secretRef": {"name": secret}}
        if self.shred:
            spec["deletionPolicy"] = "Shred"
        if limits := merged({}, self.limits):
            spec["qos"] = limits
        if self.parameters:
            spec["parameters"] = self.parameters
        head = {"apiVersion": VOLUME.api_version, "kind": VOLUME.kind}
        return {**head, "metadata": {"name": self.name}, "spec": spec}

    def _size(self, origin: Origin) -> str:
        if self.size is None and not origin.size_bytes:
            what = f"the size of {origin.name} is not known yet" if origin.field else "a blank volume needs a size"
            raise DpuError(Reason.INVALID, what, field="spec.size", remedy="say --size, such as --size 10Gi")
        if self.size is None:
            return spelled(origin.size_bytes)
        if parse_size(self.size, "spec.size") < origin.size_bytes:
            least = spelled(origin.size_bytes)
            message = f"{self.size} is smaller than {origin.name}, which has {least}"
            raise DpuError(Reason.INVALID, message, field="spec.size", remedy=f"say at least --size {least}")
        return self.size


def shaped(command: Any) -> Any:
    """Give a command the options that create and clone share."""
    options = (
        click.option("--size", help="Size, such as 10Gi; the source's when absent."),
        click.option("--encrypt", "secret", metavar="SECRET", help="Encrypt with the `key` of this Secret."),
        click.option("--shred", is_flag=True, help="Overwrite the bytes when the volume is deleted."),
        click.option("--parameter", "parameters", multiple=True, metavar="KEY=VALUE", help="For the backend alone."),
        limiting,
        waitable,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("name")
@click.option("--image", shell_complete=names_of(IMAGE), help="Image to clone.")
@click.option("--snapshot", shell_complete=names_of(SNAPSHOT), help="Snapshot to clone.")
@click.option("--backend", help="Storage backend; `file`, or the source's, when absent.")
@shaped
@namespaced
@current
def create(invocation: Invocation, /, name: str, image: str | None, snapshot: str | None, **options: Any) -> None:
    """Make a volume called NAME: blank, or a copy-on-write clone of an image or a snapshot."""
    if image and snapshot:
        raise click.UsageError("a volume has one source: --image or --snapshot")
    with open_api(invocation) as api:
        origin = _image(api, image) if image else _snapshot(api, snapshot) if snapshot else Origin()
        _make(api, _wanted(name, options), origin, options)


@click.command()
@click.argument("source", shell_complete=names_of(VOLUME))
@click.argument("name")
@shaped
@namespaced
@current
def clone(invocation: Invocation, /, source: str, name: str, **options: Any) -> None:
    """Make a volume called NAME that begins with what SOURCE holds now.

    SOURCE is a volume, or snapshot/NAME for a snapshot. Backend and encryption are those of the source.
    """
    with open_api(invocation) as api:
        _make(api, _wanted(name, options), _origin(api, source), options)


def _wanted(name: str, options: dict[str, Any]) -> Wanted:
    pairs = [one.partition("=") for one in options["parameters"]]
    if any(not key or not equals for key, equals, _ in pairs):
        raise click.UsageError("--parameter is KEY=VALUE")
    return Wanted(
        name=name,
        size=options["size"],
        backend=options.get("backend"),
        secret=options["secret"],
        shred=options["shred"],
        limits=said(options),
        parameters={key: value for key, _, value in pairs},
    )


def _make(api: Api, wanted: Wanted, origin: Origin, options: dict[str, Any]) -> None:
    made = api.create(VOLUME, wanted.manifest(origin))
    of = f" from {origin.name}" if origin.name else ""
    screen.out().print(f"volume/{name_of(made)} created{of}, {dig(made, 'spec.size')}")
    if options["wait"]:
        finish(api, [(VOLUME, made)], options["timeout_s"])


def _origin(api: Api, source: str) -> Origin:
    """The source that a person means.

    Raises:
        DpuError: NOT_FOUND, with how to name it.
    """
    word, _, name = source.rpartition("/")
    if word in SNAPSHOT.names:
        return _snapshot(api, name)
    if word and word not in VOLUME.names:
        raise click.UsageError("SOURCE is a volume's name, or snapshot/NAME")
    found = api.find(VOLUME, name)
    if found is not None:
        secret = str(dig(found, "spec.encryption.secretRef.name") or "")
        return Origin("volumeRef", name, size_of(found), str(dig(found, "spec.backend", "file")), secret)
    same = api.find(SNAPSHOT, name) is not None
    remedy = (
        f"write snapshot/{name} for the snapshot" if same else "`bmctl volume list --snapshots` shows what there is"
    )
    raise DpuError(Reason.NOT_FOUND, f"there is no volume {name}", field="SOURCE", remedy=remedy)


def _snapshot(api: Api, name: str) -> Origin:
    found = api.get(SNAPSHOT, name)
    status = found.get("status") or {}
    volume = None if status.get("backend") else api.find(VOLUME, str(dig(found, "spec.volumeRef.name")))
    backend = str(status.get("backend") or dig(volume, "spec.backend") or "file")
    secret = str(status.get("encryptionSecret") or dig(volume, "spec.encryption.secretRef.name") or "")
    return Origin("snapshotRef", name, int(status.get("sizeBytes") or 0), backend, secret)


def _image(api: Api, name: str) -> Origin:
    found = api.get(IMAGE, name)
    return Origin("imageRef", name, int(dig(found, "status.sizeBytes") or 0), str(dig(found, "spec.backend", "file")))
