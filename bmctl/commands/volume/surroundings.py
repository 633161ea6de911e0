"""All that decides the state of one volume, read in one go."""

from dataclasses import dataclass, field

from bmctl.api import Api
from bmctl.commands.volume.finding import attachments_of, is_ready, items, ready_words, source_of
from bmctl.kinds import DPU, EVENT, HOST, IMAGE, SNAPSHOT, VOLUME
from bmctl.objects import Object, dig, name_of
from proto.reasons import Reason

LONGEST = 16
"""Steps back along a chain of sources; more are not told."""
KIND_OF = {"image": IMAGE, "snapshot": SNAPSHOT, "volume": VOLUME}
AWAY = frozenset({Reason.UNAVAILABLE.value, Reason.DEADLINE.value, Reason.UNAUTHENTICATED.value})
"""Reasons of a condition that speak of the backend rather than of the volume."""


@dataclass(frozen=True)
class Ancestor:
    """One step back: what a volume was made from, or what a snapshot was cut of; None when it is gone."""

    word: str
    name: str
    obj: Object | None


@dataclass(frozen=True)
class Disk:
    """An attachment with its host and its DPU; None for what does not exist."""

    attachment: Object
    host: Object | None
    dpu: Object | None


@dataclass(frozen=True)
class Surroundings:
    """A volume and what is around it.

    Attributes:
        ancestors: the nearest first.
        snapshots: that name the volume.
        clones: volumes that were made of it, or of a snapshot of it.
        beside: the other volumes of its backend, in its namespace.
        events: about the volume and its attachments, oldest first.
    """

    volume: Object
    ancestors: list[Ancestor] = field(default_factory=list)
    snapshots: list[Object] = field(default_factory=list)
    clones: list[Object] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    beside: list[Object] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)

    @property
    def backend(self) -> str:
        """Name of its storage backend."""
        return str(dig(self.volume, "spec.backend", "file"))

    def backend_trouble(self) -> str:
        """What volumes of the backend say of it when it does not answer; empty when nobody complains."""
        for one in (self.volume, *self.beside):
            reason, sentence = ready_words(one)
            if not is_ready(one) and reason in AWAY:
                return sentence
        return ""


def look_around(api: Api, name: str) -> Surroundings:
    """Read a volume and what is around it.

    Raises:
        DpuError: NOT_FOUND; there is no such volume.
    """
    volume = api.get(VOLUME, name)
    volumes = items(api, VOLUME)
    snapshots = items(api, SNAPSHOT, f"spec.volumeRef.name={name}")
    cut = {name_of(one) for one in snapshots}
    attachments = attachments_of(api, name)
    return Surroundings(
        volume=volume,
        ancestors=_ancestors(api, volume, {name_of(one): one for one in volumes}),
        snapshots=snapshots,
        clones=[one for one in volumes if _stands_on(one, name, cut)],
        disks=[_disk(api, one) for one in attachments],
        beside=[one for one in volumes if dig(one, "spec.backend") == dig(volume, "spec.backend") and one != volume],
        events=_events(api, [volume, *attachments]),
    )


def _stands_on(clone: Object, volume: str, snapshots: set[str]) -> bool:
    source = source_of(clone)
    return source == ("volume", volume) or (source is not None and source[0] == "snapshot" and source[1] in snapshots)


def _ancestors(api: Api, volume: Object, volumes: dict[str, Object]) -> list[Ancestor]:
    found: list[Ancestor] = []
    step = source_of(volume)
    while step is not None and len(found) < LONGEST and step not in [(one.word, one.name) for one in found]:
        word, name = step
        obj = volumes.get(name) if word == "volume" else api.find(KIND_OF[word], name)
        found.append(Ancestor(word, name, obj))
        if obj is None or word == "image":
            break
        step = ("volume", str(dig(obj, "spec.volumeRef.name"))) if word == "snapshot" else source_of(obj)
    return found


def _disk(api: Api, attachment: Object) -> Disk:
    host = api.find(HOST, str(dig(attachment, "spec.hostRef.name")))
    dpu = str(dig(attachment, "status.dpu") or dig(host, "spec.dpuRef.name") or "")
    return Disk(attachment, host, api.find(DPU, dpu) if dpu else None)


def _events(api: Api, objects: list[Object]) -> list[Object]:
    found: list[Object] = []
    for obj in objects:
        found += items(api, EVENT, f"involvedObject.uid={dig(obj, 'metadata.uid')}")
    return sorted(found, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))
