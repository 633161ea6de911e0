"""Seeds: the NoCloud disk that tells a machine who it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A seed as journalled; the content may hold secrets and is in its file alone.

    Attributes:
        sha256: of the content, in hex; tells one content from another.
        name: of the seed's file, for the writer.
        path: where the file lies.
    """

    machine_id: str
    generation: int
    sha256: str
    name: str
    path: str
    wanted: bool = True


def attachment_id_of(machine_id: str) -> str:
    """Id of the disk that shows a machine's seed; the colon keeps it apart from every id that a caller can choose."""
    return f"seed:{machine_id}"
