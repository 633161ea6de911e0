"""A stand-in for qemu-system-x86_64: the same sockets, the same refusals, no machine. Standard library only.

FAKE_GUEST=acpi   the guest shuts down and lets go of devices when asked (default)
FAKE_GUEST=none   no operating system runs: device_del is answered and nothing happens until a reset
FAKE_START=fail   the program says why on stderr and ends
FAKE_START=mute   it never greets
"""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

Object = dict[str, Any]

QMP_FD, SERIAL_FD = 10, 11
GREETING = {"QMP": {"version": {"qemu": {"major": 10, "minor": 0, "micro": 2}, "package": "fake"}, "capabilities": []}}


class RefusedError(Exception):
    """An error answer: class and text."""


class Machine:
    """What was plugged, and the rules QEMU keeps."""

    def __init__(self, words: list[str]) -> None:
        self.devices: dict[str, Object] = {}
        self.nodes: dict[str, Object] = {}
        self.netdevs: dict[str, Object] = {}
        self.pending: set[str] = set()
        self.guest = os.environ.get("FAKE_GUEST", "acpi")
        self.events: list[Object] = []
        self.over = False
        for option, value in pairwise(words):
            if option == "-blockdev":
                self.blockdev_add(json.loads(value))
            elif option == "-netdev":
                self.netdev_add(json.loads(value))
            elif option == "-device":
                self.device_add(json.loads(value))

    def say(self, name: str, **data: object) -> None:
        self.events.append({"event": name, "data": data, "timestamp": {"seconds": 0, "microseconds": 0}})

    def run(self, command: str, arguments: Object) -> object:
        method = getattr(self, command.replace("-", "_"), None)
        if method is None:
            raise RefusedError("CommandNotFound", f"The command {command} has not been found")
        return method(arguments)

    def qmp_capabilities(self, _: Object) -> Object:
        return {}

    def qom_list(self, _: Object) -> list[Object]:
        found = [{"name": name, "type": "child<device>"} for name in self.devices]
        return [{"name": "type", "type": "string"}, *found]

    def query_pci(self, _: Object) -> list[Object]:
        named = [name for name in self.devices if not name.startswith(("port-", "cd", "unnamed"))]
        behind = [{"qdev_id": name, "bus": bus, "slot": 0, "function": 0} for bus, name in enumerate(named, start=1)]
        bridge = {"qdev_id": "", "bus": 0, "slot": 2, "function": 0, "pci_bridge": {"devices": behind}}
        return [{"bus": 0, "devices": [bridge]}]

    def query_named_block_nodes(self, _: Object) -> list[Object]:
        return [{"node-name": name, "image": {"virtual-size": node["size"]}} for name, node in self.nodes.items()]

    def query_blockstats(self, _: Object) -> list[Object]:
        return [{"node-name": name, "stats": {"rd_operations": 1}} for name in self.nodes]

    def query_yank(self, _: Object) -> list[Object]:
        return [{"type": "block-node", "node-name": name} for name in self.nodes]

    def yank(self, arguments: Object) -> Object:
        for instance in arguments["instances"]:
            self.nodes[instance["node-name"]]["yanked"] = True
        return {}

    def blockdev_add(self, arguments: Object) -> Object:
        name, path = arguments["node-name"], arguments.get("server", {}).get("path", "")
        if name in self.nodes:
            raise RefusedError("GenericError", f"Duplicate nodes with node-name='{name}'")
        if path and not Path(path).exists():
            raise RefusedError("GenericError", f"Failed to connect to '{path}': No such file or directory")
        self.nodes[name] = {"size": 1 << 20}
        return {}

    def blockdev_del(self, arguments: Object) -> Object:
        name = arguments["node-name"]
        if name not in self.nodes:
            raise RefusedError("GenericError", f"Failed to find node with node-name='{name}'")
        if any(device.get("drive") == name for device in self.devices.values()):
            raise RefusedError("GenericError", f"Node {name} is in use")
        del self.nodes[name]
        return {}

    def netdev_add(self, arguments: Object) -> Object:
        if arguments["id"] in self.netdevs:
            raise RefusedError("GenericError", f"Duplicate ID '{arguments['id']}' for netdev")
        self.netdevs[arguments["id"]] = arguments
        return {}

    def netdev_del(self, arguments: Object) -> Object:
        if arguments["id"] not in self.netdevs:
            raise RefusedError("GenericError", f"Device '{arguments['id']}' not found")
        del self.netdevs[arguments["id"]]
        return {}

    def device_add(self, arguments: Object) -> Object:
        name = arguments.get("id", f"unnamed{len(self.devices)}")
        if name in self.devices:
            raise RefusedError("GenericError", f"Duplicate device ID '{name}'")
        if arguments.get("drive", "") not in {"", *self.nodes}:
            raise RefusedError("GenericError", f"Property 'drive' can't find value '{arguments['drive']}'")
        index = arguments.get("bootindex")
        if index is not None and any(device.get("bootindex") == index for device in self.devices.values()):
            raise RefusedError("GenericError", f"The bootindex {index} has already been used")
        self.devices[name] = arguments
        return {}

    def device_del(self, arguments: Object) -> Object:
        name = arguments["id"]
        if name not in self.devices:
            raise RefusedError("DeviceNotFound", f"Device '{name}' not found")
        self.pending.add(name)
        if self.guest == "acpi":
            self.release()
        return {}

    def release(self) -> None:
        for name in sorted(self.pending):
            del self.devices[name]
            self.say("DEVICE_DELETED", path=f"/machine/peripheral/{name}", device=name)
        self.pending.clear()

    def qom_set(self, arguments: Object) -> Object:
        value = arguments["value"]
        if value >= 0 and any(device.get("bootindex") == value for device in self.devices.values()):
            raise RefusedError("GenericError", f"The bootindex {value} has already been used")
        self.devices[arguments["path"].rsplit("/", 1)[-1]][arguments["property"]] = value
        return {}

    def set_link(self, arguments: Object) -> Object:
        self.devices[arguments["name"]]["link"] = arguments["up"]
        return {}

    def system_reset(self, _: Object) -> Object:
        self.release()
        self.say("RESET", guest=False, reason="host-qmp-system-reset")
        return {}

    def system_powerdown(self, _: Object) -> Object:
        if self.guest == "acpi":
            self.say("SHUTDOWN", guest=True, reason="guest-shutdown")
            self.over = True
        return {}

    def inject_nmi(self, _: Object) -> Object:
        return {}

    def show(self, _: Object) -> Object:
        """For tests: everything."""
        return {"devices": self.devices, "nodes": self.nodes, "netdevs": self.netdevs}


def serve(machine: Machine) -> None:
    """One QMP client after another, as QEMU does."""
    listener = socket.socket(fileno=QMP_FD)
    while True:
        client, _ = listener.accept()
        with suppress(OSError):  # a client that goes away in the middle leaves the machine as it is
            converse(machine, client)


def converse(machine: Machine, client: socket.socket) -> None:
    tell(client, GREETING)
    for request in requests(client):
        try:
            answer = {"return": machine.run(request["execute"], request.get("arguments", {}))}
        except RefusedError as refusal:
            answer = {"error": {"class": refusal.args[0], "desc": refusal.args[1]}}
        tell(client, answer | {"id": request.get("id")})
        while machine.events:
            tell(client, machine.events.pop(0))
        if machine.over:
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
            os._exit(0)


def requests(client: socket.socket) -> Iterator[Object]:
    """JSON objects with nothing between them, which is what QEMU accepts and the QMP library sends."""
    text = ""
    while data := client.recv(65536).decode():
        text += data
        while text.strip():
            try:
                request, end = json.JSONDecoder().raw_decode(text.strip())
            except ValueError:
                break
            text = text.strip()[end:]
            yield request


def tell(client: socket.socket, message: Object) -> None:
    client.sendall(json.dumps(message).encode() + b"\r\n")


def echo() -> None:
    """The serial port: a greeting, then what is typed comes back in capitals."""
    listener = socket.socket(fileno=SERIAL_FD)
    while True:
        client, _ = listener.accept()
        with suppress(OSError):
            client.sendall(b"fake firmware\r\n")
            while data := client.recv(4096):
                client.sendall(data.upper())


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if os.environ.get("FAKE_START") == "fail":
        sys.stderr.write("qemu: no such machine\n")
        sys.exit(1)
    if os.environ.get("FAKE_START") == "mute":
        signal.pause()
    Path(sys.argv[sys.argv.index("-pidfile") + 1]).write_text(str(os.getpid()), encoding="utf-8")
    try:
        machine = Machine(sys.argv[1:])
    except RefusedError as refusal:
        sys.stderr.write(f"qemu: {refusal.args[1]}\n")
        sys.exit(1)
    threading.Thread(target=echo, daemon=True).start()
    serve(machine)


main()
