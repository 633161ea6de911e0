"""What the guest does with a network-config: the commands, made by the very awk that the guest has."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import lab.image

GUEST = Path(lab.image.__file__).parent / "guest"
NICS = "00:00:00:00:00:00=lo 52:54:00:aa:00:01=eth0 52:54:00:aa:00:02=eth1 "
pytestmark = pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox (make deps)")


def commands(config: dict[str, Any]) -> list[str]:
    awk = ["busybox", "awk"]
    text = yaml.safe_dump(config)
    flat = subprocess.run([*awk, "-f", GUEST / "flatten.awk"], input=text, capture_output=True, text=True, check=True)
    made = subprocess.run(
        [*awk, "-v", f"nics={NICS}", "-f", GUEST / "network.awk"],
        input=flat.stdout,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.replace("'", "") for line in made.stdout.splitlines()]


def ethernets(**entries: dict[str, Any]) -> dict[str, Any]:
    return {"version": 2, "ethernets": entries}


def test_a_static_address_as_the_machine_controller_writes_it() -> None:
    entry = {
        "match": {"macaddress": "52:54:00:AA:00:02"},
        "addresses": ["10.77.0.11/24"],
        "dhcp4": False,
        "mtu": 1450,
        "routes": [{"to": "0.0.0.0/0", "via": "10.77.0.1"}],
        "nameservers": {"addresses": ["10.77.0.2"]},
    }
    assert commands(ethernets(front=entry)) == [
        "ip link set eth1 mtu 1450 up",
        "ip addr add 10.77.0.11/24 dev eth1",
        "ip route add 0.0.0.0/0 via 10.77.0.1 dev eth1",
        "echo nameserver 10.77.0.2 >> /run/resolv.conf",
    ]


def test_the_older_spelling_under_a_network_key() -> None:
    entry = {"addresses": ["10.0.0.5/8", "fd00::5/64"], "gateway4": "10.0.0.1", "gateway6": "fd00::1"}
    assert commands({"network": ethernets(eth0=entry)}) == [
        "ip link set eth0 up",
        "ip addr add 10.0.0.5/8 dev eth0",
        "ip addr add fd00::5/64 dev eth0",
        "ip route add default via 10.0.0.1 dev eth0",
        "ip route add default via fd00::1 dev eth0",
    ]


def test_a_name_is_set_before_the_interface_is_used() -> None:
    entry = {"match": {"macaddress": "52:54:00:aa:00:01"}, "set-name": "front", "dhcp4": True}
    assert commands(ethernets(x=entry)) == [
        "ip link set eth0 name front",
        "ip link set front up",
        "udhcpc -q -n -t 3 -T 1 -i front -s /usr/lib/lab/udhcpc",
    ]


def test_a_nic_that_is_not_there_is_named_and_the_others_work() -> None:
    gone = {"match": {"macaddress": "52:54:00:aa:00:99"}, "addresses": ["10.0.0.1/8"]}
    assert commands(ethernets(a=gone, eth1={"addresses": ["10.0.0.2/8"]})) == [
        "echo guest: no NIC with address 52:54:00:aa:00:99",
        "ip link set eth1 up",
        "ip addr add 10.0.0.2/8 dev eth1",
    ]


def test_what_stands_in_a_file_is_never_run_as_a_command() -> None:
    made = commands_raw("ethernets/eth0/set-name\t'; reboot; '\n")
    assert "reboot" not in subprocess.run(["sh", "-n", "-c", made], capture_output=True, text=True, check=True).stdout
    quoted = subprocess.run(
        ["sh", "-c", f"ip() {{ printf '%s|' \"$@\"; }}; reboot() {{ echo BAD; }}; {made}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "BAD" not in quoted.stdout
    assert "'; reboot; '" in quoted.stdout


def commands_raw(flat: str) -> str:
    command = ["busybox", "awk", "-v", f"nics={NICS}", "-f", str(GUEST / "network.awk")]
    return subprocess.run(command, input=flat, capture_output=True, text=True, check=True).stdout


def test_signatures_are_cut_off_modules_and_nothing_else() -> None:
    from lab.image.kernel import SIGNATURE_MARK, without_signature

    info = bytes(8) + (100).to_bytes(4, "big")
    assert without_signature(b"ELF" + bytes(100) + info + SIGNATURE_MARK) == b"ELF"
    assert without_signature(b"ELF") == b"ELF"
