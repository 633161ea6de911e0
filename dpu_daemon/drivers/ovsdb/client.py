"""The switch's database, over the client that all programs share."""

from collections.abc import Callable

from dpu_daemon.drivers.keeper import count_lost
from dpu_daemon.drivers.ovsdb.schema import COLUMNS, DATABASE
from proto.ovsdb import client
from proto.ovsdb.client import Operation
from proto.ovsdb.remotes import Method, Remote
from proto.ovsdb.replica import Replica

__all__ = ["Operation", "OvsdbClient"]


class OvsdbClient(client.OvsdbClient):
    """Keeps a copy of the switch's database while there is a connection.

    Args:
        socket: path of ovsdb-server's Unix socket.
        changed: called after each change of the copy that this client was told of.
    """

    def __init__(self, socket: str, changed: Callable[[Replica], None]) -> None:
        super().__init__(
            [Remote(Method.UNIX, socket)],
            DATABASE,
            COLUMNS,
            lambda replica, _changes: changed(replica),
            count=count_lost,
        )
