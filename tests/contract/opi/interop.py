"""Running an independent client, and telling whether two contracts are the same."""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import Descriptor, FileDescriptor


async def run(python: str, *arguments: str) -> tuple[list[str], str]:
    """What a script of another Python said, in words, and its errors."""
    process = await asyncio.create_subprocess_exec(
        python, *arguments, cwd="/", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, errors = await process.communicate()
    return said.decode().split(), errors.decode()


def fingerprint(files: Iterable[FileDescriptor]) -> str:
    """Of every message, field, enum and rpc of these files."""
    return hashlib.sha256("\n".join(sorted(_shapes(files))).encode()).hexdigest()


def _shape(message: Descriptor) -> Iterator[str]:
    for field in message.fields:
        of = field.message_type or field.enum_type
        oneof = field.containing_oneof.name if field.containing_oneof else ""
        kind = of.full_name if of else field.type
        yield f"{message.full_name} {field.number} {field.name} {kind} {field.is_repeated} {oneof}"
    for enum in message.enum_types:
        yield from (f"{enum.full_name} {value.number} {value.name}" for value in enum.values)


def _shapes(files: Iterable[FileDescriptor]) -> Iterator[str]:
    for file in files:
        for message in file.message_types_by_name.values():
            yield from _shape(message)
        for enum in file.enum_types_by_name.values():
            yield from (f"{enum.full_name} {value.number} {value.name}" for value in enum.values)
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"{service.full_name} {method.name} {method.input_type.name} {method.output_type.name}"
