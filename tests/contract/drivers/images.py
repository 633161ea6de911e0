"""Images for contract tests."""

import subprocess
from pathlib import Path

from dpu_daemon.model.volume import Image, ImageFormat

MIB = 1 << 20
IMAGE_BYTES = 4 * MIB
IMAGE_ID = "7f8d53a5-55a8-4f0b-9d8e-5a0f4f6f7c11"


def image_of(image_format: ImageFormat) -> Image:
    """The record of an image of IMAGE_BYTES."""
    return Image(image_id=IMAGE_ID, source=f"tiny.{image_format.value}", format=image_format, size_bytes=IMAGE_BYTES)


def image_file(directory: Path, image_format: ImageFormat) -> Image:
    """The same, with its file made."""
    raw = directory / "tiny.raw"
    raw.write_bytes(b"\x41" * IMAGE_BYTES)
    if image_format is ImageFormat.QCOW2:
        path = directory / "tiny.qcow2"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)], check=True)
    return image_of(image_format)
