"""Something that answers the first PDU of NVMe/TCP, and nothing more."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

IC_BYTES = 128


@asynccontextmanager
async def nvme_tcp_target(kind: int = 1) -> AsyncIterator[int]:
    """Serve on a free port of loopback; `kind` is the type of the answer, 1 where all is well, 0 for silence."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            asked = await reader.readexactly(IC_BYTES)
            assert struct.unpack("<BBBBI", asked[:8]) == (0, 0, IC_BYTES, 0, IC_BYTES)
            if kind:
                writer.write(struct.pack("<BBBBI", kind, 0, IC_BYTES, 0, IC_BYTES).ljust(IC_BYTES, b"\0"))
            await reader.read()
        writer.close()
        await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.get_running_loop().create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()
