"""Encryption keys and events of a fake SPDK."""

from collections import deque
from typing import TYPE_CHECKING, Any

from tests.fakes.spdk.refusal import RefusalError, bad_params

if TYPE_CHECKING:
    from tests.fakes.spdk.process import FakeSpdk

KEY_HEX_DIGITS = (32, 64)
RING = 1024


class Keys:
    """Keys of the acceleration layer; listed in clear, as the real one does."""

    def __init__(self, process: "FakeSpdk") -> None:
        self._process = process
        self.all: dict[str, dict[str, str]] = {}
        self.destroyed_in_use: set[str] = set()

    def accel_crypto_key_create(self, cipher: str, key: str, name: str, key2: str = "", **_options: Any) -> bool:
        if cipher not in {"AES_XTS", "AES_CBC"}:
            raise RefusalError(-32700, "spdk_json_decode_object failed")
        if name in self.all:
            raise bad_params("failed to create DEK, rc -17")
        if len(key) not in KEY_HEX_DIGITS or (cipher == "AES_XTS" and len(key2) != len(key)) or key == key2:
            raise bad_params("failed to create DEK, rc -22")
        self.all[name] = {"name": name, "cipher": cipher, "key": key, "key2": key2}
        self.destroyed_in_use.discard(name)
        return True

    def accel_crypto_key_destroy(self, key_name: str) -> bool:
        if self.all.pop(key_name, None) is None:
            raise bad_params("No key object found")
        if any(bdev.detail.get("key_name") == key_name for bdev in self._process.bdevs.all.values()):
            self.destroyed_in_use.add(key_name)
        return True

    def accel_crypto_keys_get(self, key_name: str = "") -> list[dict[str, str]]:
        if key_name and key_name not in self.all:
            raise bad_params("key was not found")
        return [key for name, key in self.all.items() if not key_name or name == key_name]


class Events:
    """Notifications: a ring, from 0 at each start, polled only."""

    def __init__(self) -> None:
        self._ring: deque[dict[str, Any]] = deque(maxlen=RING)
        self._next = 0

    def say(self, kind: str, ctx: str) -> None:
        self._ring.append({"type": kind, "ctx": ctx[:127], "id": self._next})
        self._next += 1

    def notify_get_types(self) -> list[str]:
        return ["bdev_register", "bdev_unregister", "bdev_resize"]

    def notify_get_notifications(self, id: int = 0, max: int = RING) -> list[dict[str, Any]]:  # noqa: A002
        return [event for event in self._ring if event["id"] >= id][:max]
