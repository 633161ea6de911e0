"""The address book, kept true by the caches and held ahead of the writes that are under way."""

from collections.abc import Callable, Sequence
from typing import Any

from coordinator.controllers.cache import Cache
from coordinator.core.ipam.book import (
    AddressBook,
    Holding,
    line_holder,
    line_holding,
    port_holder,
    port_holding,
)
from coordinator.core.objects.net import Port
from coordinator.core.objects.network import Allocation, Subnet
from proto.errors import DpuError
from proto.reasons import Reason


class Addresses:
    """One for all controllers of a process: machines and pods take from the same subnets."""

    def __init__(self, subnets: Cache[Subnet], ports: Cache[Port]) -> None:
        self.book = AddressBook()
        self._subnets = subnets
        self._ports = ports
        self._listeners: list[Callable[[Holding], None]] = []
        subnets.listen(self._on_subnet)
        ports.listen(self._on_port)

    def listen(self, listener: Callable[[Holding], None]) -> None:
        """Have `listener` told of what was held for a write, and is not after all."""
        self._listeners.append(listener)

    def reserve(self, holding: Holding) -> None:
        """A port is being written."""
        self.book.hold(holding)

    def cancel(self, port: str) -> None:
        """A port, by key, was not written: what there is of it counts again."""
        found = self._ports.get(port)
        if found is None:
            self._drop(port_holder(port))
        else:
            self.book.hold(port_holding(found))

    def reserve_lines(self, subnet: Subnet, lines: Sequence[Allocation]) -> None:
        """Lines of machines are being written.

        Raises:
            DpuError: CONFLICT; a pod got one of the addresses since they were chosen.
        """
        wanted = [line_holding(subnet, line) for line in lines]
        for holding in wanted:
            for address in holding.addresses:
                other = self.book.of_address(holding.subnet, address, but=holding.holder)
                if other is not None and other.holder.startswith(port_holder("")):
                    raise DpuError(Reason.CONFLICT, f"{address} has just been given to {other.words}", retry=True)
        for holding in wanted:
            self.book.hold(holding)

    def restore_lines(self, subnet: str, lines: Sequence[Allocation]) -> None:
        """The write of lines is over: what the ledger says counts again."""
        found = self._subnets.get(subnet)
        written = {line_holder(subnet, line) for line in found.status.allocations} if found else set()
        for holder in {line_holder(subnet, line) for line in lines} - written:
            self._drop(holder)

    def _drop(self, holder: str) -> None:
        """A write is over, and there is nothing of it."""
        before = self.book.holding(holder)
        self.book.drop(holder)
        if before is not None:
            for listener in self._listeners:
                listener(before)

    def _on_subnet(self, key: str, before: Any, after: Any) -> None:
        if after is None:
            self.book.drop_subnet(key)
        else:
            self.book.put_subnet(after)
        lines = list(after.status.allocations) if after is not None else []
        gone = list(before.status.allocations) if before is not None else []
        for holder in {line_holder(key, line) for line in gone} - {line_holder(key, line) for line in lines}:
            self.book.drop(holder)
        for line in lines:
            self.book.hold(line_holding(after, line))

    def _on_port(self, key: str, _before: Any, after: Any) -> None:
        if after is None:
            self.book.drop(port_holder(key))
        else:
            self.book.hold(port_holding(after))
