"""Virtual media: which images may be put into the CD drive, and changing the one in a running host."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from lab.chassis.command import CD_DEVICE
from lab.chassis.monitor import Monitor
from proto.errors import DpuError
from proto.reasons import Reason


def media_source(uri: str, media_dir: str) -> str:
    """What QEMU opens for an image URI: a file name, a URL, or nothing for nothing.

    Raises:
        DpuError: INVALID for other schemes, and for files outside the folder that the settings allow.
    """
    if not uri:
        return ""
    parts = urlsplit(uri)
    if parts.scheme in {"http", "https"} and parts.netloc:
        return uri
    if parts.scheme != "file":
        raise _refused(f"{uri!r} is not an image this BMC can read", "give an http:, https: or file: URI")
    path = Path(unquote(parts.path)).resolve()
    if not media_dir or not path.is_relative_to(Path(media_dir).resolve()):
        raise _refused(f"{uri!r} is outside the media folder", "put the image into the BMC's media_dir")
    if not path.is_file():
        raise _refused(f"{uri!r} does not exist", "give an existing image")
    return str(path)


def _refused(message: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field="Image", remedy=remedy)


async def change_media(monitor: Monitor, source: str) -> None:
    """Put an image into the running host's drive, or with nothing given eject the one that is in it.

    Raises:
        DpuError: when QEMU cannot open the image.
    """
    if not source:
        await monitor.execute("eject", {"id": CD_DEVICE, "force": True})
        return
    await monitor.execute(
        "blockdev-change-medium",
        {"id": CD_DEVICE, "filename": source, "format": "raw", "read-only-mode": "read-only", "force": True},
    )
