"""Addresses of functions, as a card's driver tells them by devlink."""

import struct
from collections.abc import Iterator

import pytest

from dpu_daemon.drivers import devlink
from dpu_daemon.drivers.netlink_dump import GENL_HEAD, packed
from dpu_daemon.model.representor import by_address


def _port(netdev: str, vf: int, mac: bytes | None) -> bytes:
    values = [
        packed(devlink.BUS_NAME, b"pci\0"),
        packed(devlink.DEV_NAME, b"0000:03:00.0\0"),
        packed(devlink.NETDEV_NAME, netdev.encode() + b"\0"),
        packed(devlink.FLAVOUR, struct.pack("=H", devlink.FLAVOUR_PCI_VF)),
        packed(devlink.PF_NUMBER, struct.pack("=H", 0)),
        packed(devlink.VF_NUMBER, struct.pack("=H", vf)),
    ]
    if mac is not None:
        values.append(packed(devlink.PORT_FUNCTION, packed(devlink.FUNCTION_ADDRESS, mac)))
    return GENL_HEAD.pack(devlink.PORT_GET, 1) + b"".join(values)


def test_a_function_is_found_by_the_address_that_its_port_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [_port("pf0vf0", 0, bytes.fromhex("020000000005")), _port("pf0vf1", 1, bytes(6)), _port("pf0vf2", 2, None)]

    def told(_protocol: int, _kind: int, _body: bytes) -> Iterator[bytes]:
        return iter(ports)

    monkeypatch.setattr(devlink, "family", lambda _name: 20)
    monkeypatch.setattr(devlink, "dump", told)
    seen = devlink.devlink_representors()
    assert [one.netdev for one in seen] == ["pf0vf0", "pf0vf1", "pf0vf2"]
    assert by_address(seen) == {"02:00:00:00:00:05": "pf0vf0"}
