"""``python -m lab.image [tiny|debian]``: builds the image when needed and prints where it is."""

import sys

from lab.image import debian, tiny
from proto.errors import DpuError

KINDS = {"tiny": tiny.ensure, "debian": debian.ensure}


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 and why when the image cannot be built, 2 for an unknown kind."""
    words = sys.argv[1:] if arguments is None else arguments
    kind = words[0] if words else "tiny"
    if kind not in KINDS:
        print(f"image: unknown kind {kind}; known: {', '.join(KINDS)}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        print(KINDS[kind]())  # noqa: T201
    except DpuError as error:
        print(f"image: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
