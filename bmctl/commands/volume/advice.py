"""What to do about a volume: the next step for each thing that is in its way."""

from collections.abc import Iterator

from bmctl.commands.volume.finding import is_ready, ready_words, size_of, spelled
from bmctl.commands.volume.limits import effective, limits_of
from bmctl.commands.volume.surroundings import Disk, Surroundings
from bmctl.objects import Object, dig, name_of

WAITING, DELETING = "Waiting", "Deleting"
"""Reasons of a condition that goes by itself."""
SEEN_OFF = "only when you have seen that its server is off"


def advice(around: Surroundings) -> list[str]:
    """Sentences, the most pressing first; one that says so when nothing is to be done."""
    found = [*_leaving(around), *_making(around)]
    for disk in around.disks:
        found += _disk(around, disk)
    return list(dict.fromkeys(found)) or ["nothing: it is as wanted"]


def _leaving(around: Surroundings) -> Iterator[str]:
    if not dig(around.volume, "metadata.deletionTimestamp"):
        return
    name = name_of(around.volume)
    for disk in around.disks:
        machine = dig(disk.attachment, "spec.machineRef.name")
        if machine:
            yield f"it goes when machine {machine} lets it go: `bmctl delete machine {machine}`, or detach its disk"
        elif not dig(disk.attachment, "metadata.deletionTimestamp"):
            host = dig(disk.attachment, "spec.hostRef.name")
            yield f"it goes when it is detached: `bmctl volume detach {name} {host}`"
    if around.snapshots:
        names = " ".join(name_of(one) for one in around.snapshots)
        yield f"it goes after its snapshots: `bmctl delete snapshot {names}`"


def _making(around: Surroundings) -> Iterator[str]:
    volume = around.volume
    reason, _ = ready_words(volume)
    usable = bool(dig(volume, "status.handle"))
    if around.backend_trouble():
        yield f"see whether storage backend {around.backend} runs, and whether the coordinator reaches it"
    elif not reason:
        asked = bool(dig(volume, "metadata.finalizers"))
        doing = f"backend {around.backend} is being asked for it" if asked else "no controller has looked at it yet"
        yield f"wait some seconds: {doing}; if that lasts, see whether the coordinator runs"
    elif dig(volume, "status.phase") == "Failed":
        yield "correct what the sentence above names: delete it and make it anew, or `bmctl apply` a spec that can be"
    elif usable and not is_ready(volume) and reason not in {WAITING, DELETING}:
        yield f"correct what the sentence above names; its bytes are there, {spelled(size_of(volume))} of them"
    if not usable and around.ancestors:
        yield from _source(around)


def _source(around: Surroundings) -> Iterator[str]:
    nearest = around.ancestors[0]
    what = f"{nearest.word} {nearest.name}"
    if nearest.obj is None:
        yield f"create {what}, or delete this volume and name another source"
    elif not is_ready(nearest.obj):
        shows = f"volume explain {nearest.name}" if nearest.word == "volume" else f"describe {what}"
        yield f"it waits for {what}: `bmctl {shows}` says what that one waits for"


def _disk(around: Surroundings, disk: Disk) -> Iterator[str]:
    attachment = disk.attachment
    name, host, volume = name_of(attachment), str(dig(attachment, "spec.hostRef.name")), name_of(around.volume)
    if disk.host is None:
        yield f"create BareMetalHost {host}, or take attachment {name} away: `bmctl delete attachment {name}`"
        return
    yield from _dpu(disk, name, host)
    holder = str(dig(around.volume, "status.attachmentRef.name") or "")
    own = int(dig(attachment, "status.generation") or 0)
    fence = int(dig(around.volume, "status.attachGeneration") or 0)
    if holder and holder != name and not is_ready(attachment):
        yield f"attachment {holder} has the volume: detach that one first, or attach all of them --read-only"
    elif own and own != fence:
        yield f"attachment {name} has generation {own} of {fence}: it was fenced off; delete it and attach anew"
    elif not is_ready(attachment) and disk.dpu is not None and ready_words(attachment)[0] not in {"", WAITING}:
        away = f"`bmctl volume detach {volume} {host}` takes it away"
        yield f"mend what the sentence of attachment {name} names, and it goes on; {away}"
    if is_ready(attachment):
        yield from _whole_disk(around.volume, attachment, host)


def _dpu(disk: Disk, name: str, host: str) -> Iterator[str]:
    if disk.dpu is None:
        yield f"register the DPU of host {host}: there is no Dpu object for it"
        return
    if dig(disk.dpu, "status.phase") == "Online":
        return
    dpu = name_of(disk.dpu)
    yield f"DPU {dpu} does not answer: `bmctl describe dpu {dpu}`, and `dpu-daemon check` there"
    if dig(disk.attachment, "metadata.deletionTimestamp"):
        yield (
            f"if DPU {dpu} never comes back, and {SEEN_OFF}: "
            f"`kubectl annotate volumeattachment {name} dpupool.io/force-detach=REASON`"
        )


def _whole_disk(volume: Object, attachment: Object, host: str) -> Iterator[str]:
    has, shown = int(dig(volume, "status.sizeBytes") or 0), int(dig(attachment, "status.sizeBytes") or 0)
    if shown < has and not dig(attachment, "status.liveResize"):
        yield f"host {host} sees the new size after its next start"
    if effective(volume, attachment) != limits_of(volume, "spec.qos"):
        yield f"its limits are those of attachment {name_of(attachment)}, which go before the volume's"
