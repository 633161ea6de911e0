"""TLS with pre-shared keys: objects of the storage daemon that read their keys from the credential store's folder.

The server's side looks a client's key up at each handshake, so that keys come and go while it runs. A client's side
reads its key when the object is made: a key that was replaced counts for disks that are put up from then on.
"""

from pathlib import Path
from typing import Protocol

from dpu_daemon.drivers.credentials import HEX_KEY
from dpu_daemon.drivers.qsd.session import QmpSession, RefusedError
from dpu_daemon.model.credentials import Credentials
from proto.errors import DpuError
from proto.reasons import Reason

SERVER = "dpupool.tls"
KIND = "tls-creds-psk"


class Keys(Protocol):
    """Where secrets lie; the daemon reads the file of pre-shared keys itself."""

    def get(self, name: str) -> Credentials: ...

    def psk_directory(self) -> Path: ...


def check_psk(keys: Keys | None, name: str) -> Keys:
    """The store, with a pre-shared key of NBD under this name in it.

    Raises:
        DpuError: NOT_FOUND without the set, WRONG_STATE when it has no such key, UNSUPPORTED without a store.
    """
    if keys is None:
        message = "this daemon keeps no credentials"
        raise DpuError(Reason.UNSUPPORTED, message, field="credentials", remedy="set credentials_dir")
    if HEX_KEY.fullmatch(keys.get(name).tls_psk) is None:
        message = f"credentials {name} have no pre-shared key of NBD"
        raise DpuError(Reason.WRONG_STATE, message, field="credentials", remedy="put them again, tls_psk in hex digits")
    return keys


async def ensure_server(session: QmpSession, keys: Keys) -> str:
    """The object of the server's side; returns its id."""
    await _add(session, {"id": SERVER, "endpoint": "server", "dir": str(keys.psk_directory())})
    return SERVER


async def renew_client(session: QmpSession, keys: Keys, object_id: str, name: str) -> None:
    """The object of one client, made anew."""
    await remove(session, object_id)
    await _add(session, {"id": object_id, "endpoint": "client", "dir": str(keys.psk_directory()), "username": name})


async def remove(session: QmpSession, object_id: str) -> None:
    """Removes an object; none there is fine."""
    if object_id in await objects(session):
        await session.execute("object-del", {"id": object_id})


async def objects(session: QmpSession) -> set[str]:
    """Names of all objects of the daemon."""
    try:
        found = await session.execute("qom-list", {"path": "/objects"})
    except RefusedError:
        return set()  # 7.2 makes the folder with its first object
    return {entry["name"] for entry in found}


async def _add(session: QmpSession, options: dict[str, str]) -> None:
    try:
        await session.execute("object-add", {"qom-type": KIND, **options})
    except RefusedError as error:
        if options["id"] not in await objects(session):
            message = f"qemu-storage-daemon cannot use the keys in {options['dir']}: {error.desc}"
            remedy = "see that it runs as a user who may read them, and was built with GnuTLS"
            raise DpuError(Reason.UNSUPPORTED, message, field="credentials", remedy=remedy) from error
