"""What a DPU holds that is not of the machine which is to get its host."""

from collections.abc import Container, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A disk or a port that a DPU shows to its host.

    Attributes:
        what: in words, such as ``disk 0f3c``.
        id: of the attachment or port.
        machine_id: UID of the machine that it was made for; empty for none.
        generation: fence that it was made with.
    """

    what: str
    id: str
    machine_id: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Things of others, by whether their owner is still there.

    Attributes:
        orphans: UID of a machine that is no more to the highest generation of its things: to be released.
        kept: sentences about what belongs to somebody, or to nobody who is known.
    """

    orphans: dict[str, int]
    kept: tuple[str, ...]


def owners(uid: str, held: Iterable[Held]) -> set[str]:
    """UIDs of the other machines that have something there."""
    return {thing.machine_id for thing in held if thing.machine_id not in {"", uid}}


def sort_out(
    uid: str, held: Iterable[Held], alive: dict[str, str], attachments: Container[str], unnamed: int
) -> Leftovers:
    """Decide about all that a DPU holds.

    A disk without a machine is good when a VolumeAttachment of its id exists: somebody attached it to the host itself.

    Args:
        uid: of the machine that is to get the host.
        alive: UID to name of the other machines that exist.
        attachments: UIDs of all VolumeAttachments.
        unnamed: disk slots in use that no listed disk explains, which seed disks are.
    """
    orphans: dict[str, int] = {}
    kept = []
    for thing in held:
        if thing.machine_id == uid or (not thing.machine_id and thing.id in attachments):
            continue
        if not thing.machine_id:
            kept.append(f"{thing.what} of nobody")
        elif thing.machine_id in alive:
            kept.append(f"{thing.what} of machine {alive[thing.machine_id]}")
        else:
            orphans[thing.machine_id] = max(thing.generation, orphans.get(thing.machine_id, 0))
    if unnamed > 0 and not orphans:
        kept.append(f"{unnamed} seed disk{'s' if unnamed > 1 else ''}")
    return Leftovers(orphans=orphans, kept=tuple(kept))
