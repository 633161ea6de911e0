"""What OVN, switches and daemons of a rig look like at one moment: the first thing to read when a wait was in vain."""

import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from tests.fakes.ovn import OvnCentral, OvnChassis

LAST_LINES = 30
"""Of each daemon's log."""
IN_TIME = "--timeout=5"
"""Who is asked may be dead."""
BINDINGS = ("--columns=logical_port,chassis,up,mac", "--format=csv", "list", "Port_Binding")
INTERFACES = ("--columns=name,ofport,link_state,error,external_ids", "--format=csv", "list", "Interface")
SWITCH = ("dpif/show", "dpctl/dump-flows", "tnl/arp/show", "ovs/route/show")


def account(central: OvnCentral, chassis: Mapping[str, OvnChassis], logs: Mapping[str, str]) -> str:
    """Bindings, ports, addresses, flows and the ends of logs."""
    told = ["southbound:", _of(lambda: central.sbctl(IN_TIME, *BINDINGS))]
    for name, one in chassis.items():
        told += [f"{name}, chassis {one.name}:", *_state(one)]
    for name, log in logs.items():
        told += [f"{name} said:", *log.splitlines()[-LAST_LINES:]]
    return "\n".join(told)


def _state(one: OvnChassis) -> Iterator[str]:
    yield _of(lambda: one.ovs.vsctl(IN_TIME, *INTERFACES))
    yield subprocess.run(["ip", "-n", one.netns, "-br", "addr"], capture_output=True, text=True, check=False).stdout
    for words in SWITCH:
        yield _of(lambda words=words: one.ovs.appctl(IN_TIME, words))  # type: ignore[misc]


def _of(tool: Callable[[], str]) -> str:
    """What a tool prints, or why it does not."""
    try:
        return tool()
    except subprocess.CalledProcessError as error:
        return f"{error}: {error.stderr}"


def journalled(journal: Path) -> list[tuple[str, str]]:
    """Rows of pods, from a copy: the daemon holds its journal for itself."""
    sql = "SELECT kind, id FROM wanted WHERE kind IN ('assignment', 'pod_port', 'sandbox')"
    with tempfile.TemporaryDirectory() as folder:
        for file in journal.parent.glob("journal.db*"):
            shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder) / journal.name)) as copy:
            return copy.execute(sql).fetchall()
