"""Secrets in files: one set per file, readable by this user alone, replaced whole or not at all.

Beside the sets stand the forms in which other programs read them: ``keys/NAME.PART`` with one secret (keyring files of
SPDK) and ``psk/keys.psk`` with every pre-shared key of NBD (what GnuTLS looks up at each handshake).
"""

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import msgspec

from dpu_daemon.model.credentials import Credentials
from proto.errors import DpuError
from proto.reasons import Reason

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
SUFFIX = ".json"
UNFINISHED = ".unfinished"
HEX_KEY = re.compile(r"([0-9a-fA-F]{2}){16,64}")
"""16 bytes are the least that is worth anything, 64 the most that GnuTLS takes."""

GROUP_FILE = "dh-params.pem"
GROUP = b"""\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""Group ffdhe2048 of RFC 7919, for key exchanges. It is public; without it beside the keys QEMU searches for one of its
own when the first guarded export is put up, which takes seconds."""


class KeyPart(Enum):
    """A secret that other programs want in a file of its own."""

    DHCHAP = "dhchap_key"
    DHCHAP_CONTROLLER = "dhchap_controller_key"
    TLS_PSK = "tls_psk"


class FileCredentials:
    """A CredentialStore.

    Args:
        directory: made with mode 0700 when missing; one of another owner or with other rights is refused.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()

    def put(self, credentials: Credentials) -> None:
        """Keep a set, or replace it.

        Raises:
            DpuError: INVALID naming the field; UNAVAILABLE or STORAGE_FULL when the file cannot be written. No text of
                an error has a secret in it.
        """
        check(credentials)
        with _file_errors(self._directory):
            _private(self._directory)
            _replace(self._path(credentials.name), msgspec.json.encode(credentials))
            self._write_parts(credentials)
            self._write_psk_file()

    def get(self, name: str) -> Credentials:
        """A set.

        Raises:
            DpuError: NOT_FOUND; CORRUPT when its file is damaged.
        """
        try:
            body = self._path(name).read_bytes()
        except FileNotFoundError as error:
            remedy = "put the credentials first, then name them"
            raise DpuError(
                Reason.NOT_FOUND, f"there are no credentials {name}", field="credentials", remedy=remedy
            ) from error
        except OSError as error:
            raise _unreadable(name, str(error)) from error
        try:
            return msgspec.json.decode(body, type=Credentials)
        except msgspec.MsgspecError:
            # The decoder's own words may quote what it read.
            raise _unreadable(name, "it is damaged") from None

    def delete(self, name: str) -> None:
        """Forget a set; absent is fine."""
        with _file_errors(self._directory):
            for part in KeyPart:
                self._part_path(name, part).unlink(missing_ok=True)
            self._path(name).unlink(missing_ok=True)
            self._write_psk_file()

    def names(self) -> frozenset[str]:
        """Names of all sets."""
        found = self._directory.glob(f"*{SUFFIX}")
        return frozenset(path.name.removesuffix(SUFFIX) for path in found)

    def key_file(self, name: str, part: KeyPart) -> Path | None:
        """A file with this secret and nothing else, mode 0600; None when the set has no such secret.

        Raises:
            DpuError: NOT_FOUND without the set.
        """
        credentials = self.get(name)
        if not getattr(credentials, part.value):
            return None
        path = self._part_path(name, part)
        if not path.exists():
            with _file_errors(self._directory):
                self._write_parts(credentials)
        return path

    def psk_directory(self) -> Path:
        """The folder whose ``keys.psk`` has a ``name:hex`` line for every set with a pre-shared key of NBD."""
        with _file_errors(self._directory):
            _private(self._directory)
            self._write_psk_file()
        return self._directory / "psk"

    def _write_parts(self, credentials: Credentials) -> None:
        _private(self._directory / "keys")
        for part in KeyPart:
            secret = getattr(credentials, part.value)
            path = self._part_path(credentials.name, part)
            if secret:
                _replace(path, secret.encode())
            else:
                path.unlink(missing_ok=True)

    def _write_psk_file(self) -> None:
        if not self._directory.exists():
            return
        keys = ((name, self._psk_of(name)) for name in sorted(self.names()))
        lines = [f"{name}:{key}\n" for name, key in keys if HEX_KEY.fullmatch(key)]
        _private(self._directory / "psk")
        for name, body in (("keys.psk", "".join(lines).encode()), (GROUP_FILE, GROUP)):
            path = self._directory / "psk" / name
            if not path.exists() or path.read_bytes() != body:
                _replace(path, body)

    def _psk_of(self, name: str) -> str:
        """Empty for a damaged set: one that cannot be read keeps no other client out."""
        try:
            return self.get(name).tls_psk
        except DpuError as error:
            if error.reason is not Reason.CORRUPT:
                raise
            return ""

    def _path(self, name: str) -> Path:
        if NAME.fullmatch(name) is None:
            remedy = "use at most 63 lower-case letters, digits, dots and hyphens"
            raise DpuError(
                Reason.INVALID, f"{name[:40]!r} is no name of credentials", field="credentials.name", remedy=remedy
            )
        return self._directory / f"{name}{SUFFIX}"

    def _part_path(self, name: str, part: KeyPart) -> Path:
        return self._directory / "keys" / f"{name}.{part.value}"


def check(credentials: Credentials) -> None:
    """Refuse what no peer could use; the value is never repeated.

    Raises:
        DpuError: INVALID naming the field.
    """
    for field in ("dhchap_key", "dhchap_controller_key"):
        secret = getattr(credentials, field)
        if secret and not (secret.startswith("DHHC-1:") and secret.isascii() and secret.isprintable()):
            raise _wrong(field, "is no NVMe secret", "send it as DHHC-1:..., as nvme gen-dhchap-key prints it")
    psk = credentials.tls_psk
    if psk and not (psk.startswith("NVMeTLSkey-1:") and psk.isascii() and psk.isprintable()) and not _is_hex(psk):
        raise _wrong(
            "tls_psk", "is no pre-shared key", "send NVMeTLSkey-1:... for NVMe/TCP, 32 to 128 hex digits for NBD"
        )
    if credentials.volume_key and len(credentials.volume_key) not in (32, 64):
        raise _wrong("volume_key", f"has {len(credentials.volume_key)} bytes", "send 32 or 64 bytes")
    if any(letter.isspace() for letter in credentials.cephx_key):
        raise _wrong("cephx_key", "has white space in it", "send USER:KEY, or the key alone")


def _is_hex(secret: str) -> bool:
    return HEX_KEY.fullmatch(secret) is not None


def _wrong(field: str, what: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, f"{field} {what}", field=f"credentials.{field}", remedy=remedy)


def _unreadable(name: str, why: str) -> DpuError:
    remedy = "put these credentials again"
    return DpuError(Reason.CORRUPT, f"credentials {name} cannot be read: {why}", field="credentials", remedy=remedy)


@contextlib.contextmanager
def _file_errors(directory: Path) -> Iterator[None]:
    """Turn what the file system refuses into STORAGE_FULL or UNAVAILABLE."""
    try:
        yield
    except OSError as error:
        reason = Reason.STORAGE_FULL if error.errno in {errno.ENOSPC, errno.EDQUOT} else Reason.UNAVAILABLE
        remedy = f"look at the space and the rights of {directory}"
        message = f"credentials cannot be kept: {error.strerror}"
        raise DpuError(reason, message, field="credentials_dir", remedy=remedy) from error


def _private(directory: Path) -> None:
    """Make a directory for this user alone, or see that it is one."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    has = directory.stat()
    if has.st_uid != os.geteuid():
        message = f"{directory} belongs to user {has.st_uid}"
        raise DpuError(Reason.UNAVAILABLE, message, field="credentials_dir", remedy="give it to this daemon's user")
    if has.st_mode & 0o077:
        directory.chmod(0o700)


def _replace(path: Path, body: bytes) -> None:
    """Write a file with mode 0600 under its name, whole, on disk when this returns."""
    descriptor, fresh = tempfile.mkstemp(prefix=path.name, suffix=UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)  # noqa: PTH105
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)  # noqa: PTH108
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
