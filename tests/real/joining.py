"""What a site has around a pool, for the lab: a way from its machines to the API, user data that joins, a scheduler."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator

from lab import namespace, topology
from lab.ca import Authority, Identity, Role
from lab.client import Object

JOINER = Identity("joiner", Role.JOINER)
CHUNK_BYTES = 1 << 16

JOIN = """\
#!/bin/sh
# Registers this machine as a node, as a kubelet would: named as the seed names it, with its provider ID.
umask 077
mkdir -p /etc/join && cd /etc/join || exit 1
cat > ca.crt <<'END'
{ca}END
cat > joiner.crt <<'END'
{certificate}END
cat > joiner.key <<'END'
{key}END
provider=$(sed -n 's/^provider_id: //p' /run/seed/meta-data)
memory=$(awk '/^MemTotal/ {{ print $2 }}' /proc/meminfo)Ki
sizes='{{"cpu":"'$(grep -c ^processor /proc/cpuinfo)'","memory":"'$memory'","pods":"110"}}'
ready='{{"type":"Ready","status":"True","reason":"Joined","message":"the guest booted"}}'
status='{{"capacity":'$sizes',"allocatable":'$sizes',"conditions":['$ready']}}'
node='{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"'$(hostname)'"}},'
node=$node'"spec":{{"providerID":"'$provider'"}},"status":'$status'}}'
length=$(printf '%s' "$node" | wc -c)
for try in 1 2 3 4 5 6 7 8 9 10; do
    answer=$({{
        printf '%s\r\n' 'POST /api/v1/nodes HTTP/1.1' 'Host: localhost' 'Connection: close' \
            'Content-Type: application/json' "Content-Length: $length" ''
        printf '%s' "$node"
    }} | openssl s_client -quiet -connect {address} -servername localhost -verify_hostname localhost \
        -CAfile ca.crt -verify_return_error -cert joiner.crt -key joiner.key 2> errors | head -n 1)
    case $answer in
        *' 201 '* | *' 409 '*) echo "joined: $answer"; exit 0 ;;
    esac
    echo "not joined: $answer $(tail -n 1 errors)"
    sleep 1
done
exit 1
"""


def user_data(authority: Authority, address: str) -> str:
    """A program that joins, with a certificate that can create and read nodes and nothing else.

    Args:
        address: of the API as the machines reach it.
    """
    pair = authority.issue(JOINER)
    return JOIN.format(
        ca=authority.ca_file.read_text(encoding="utf-8"),
        certificate=pair.certificate.read_text(encoding="utf-8"),
        key=pair.key.read_text(encoding="utf-8"),
        address=address,
    )


@contextlib.contextmanager
def way_to_the_api(lab: str, port: int) -> Iterator[str]:
    """Forward bytes from the machines' gateway to the API, as a site's router does; yields ADDRESS:PORT."""
    gateway = str(topology.FABRIC[1])
    with namespace.entered(f"{lab}-fab"):
        listener = socket.create_server((gateway, topology.API_PORT))
    serving = threading.Thread(target=_serve, args=(listener, port))
    with listener:
        serving.start()
        try:
            yield f"{gateway}:{topology.API_PORT}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()
            # The gateway remembers who had which address; the next machine that gets one has another MAC.
            subprocess.run(["ip", "-n", f"{lab}-fab", "neigh", "flush", "all"], check=True)


def _serve(listener: socket.socket, port: int) -> None:
    """One caller after the other: there are few, and none stays."""
    while True:
        try:
            caller, _ = listener.accept()
        except OSError:
            return
        with caller, socket.create_connection(("127.0.0.1", port)) as inside:
            back = threading.Thread(target=_pump, args=(inside, caller))
            back.start()
            _pump(caller, inside)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def pending_pod(name: str, namespace: str, cpu: str = "100m") -> Object:
    """A pod of a ReplicaSet that no node has room for."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs-1", "controller": True}
    requests = {"cpu": cpu, "memory": "16Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "main", "image": "web", "resources": {"requests": requests}}]},
    }


UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/0 nodes are available",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}
