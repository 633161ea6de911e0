"""Who holds which server. A server has one line in the ledger, so nothing can be given twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class Lease:
    """A server in the hands of a pool.

    Attributes:
        generation: rises with every change of hands; a message about an earlier one is void.
        recalled_for: pool that wants it back, empty while nobody does.
    """

    holder: str
    generation: int
    recalled_for: str = ""


@dataclass(frozen=True)
class Ledger:
    """Leases by server, and servers that wait for the pool they were recalled for.

    Every change returns a new ledger; the one it was made from stays true of its time.
    """

    leases: Mapping[str, Lease] = field(default_factory=dict)
    reserved: Mapping[str, str] = field(default_factory=dict)
    generations: Mapping[str, int] = field(default_factory=dict)

    def holder(self, server: str) -> str:
        """The pool that holds a server, empty when it is free."""
        lease = self.leases.get(server)
        return lease.holder if lease is not None else ""

    def held_by(self, pool: str) -> list[str]:
        """Servers in the hands of a pool, sorted."""
        return sorted(server for server, lease in self.leases.items() if lease.holder == pool)

    def grant(self, server: str, pool: str) -> "Ledger":
        """Give a free server to a pool; giving it again to the pool that holds it changes nothing.

        Raises:
            DpuError: IN_USE when another pool holds it or waits for it.
        """
        current = self.leases.get(server)
        if current is not None and current.holder == pool:
            return self
        taken = current.holder if current is not None else self.reserved.get(server, pool)
        if taken != pool:
            word = "held by" if current is not None else "kept for"
            raise DpuError(Reason.IN_USE, f"server {server} is {word} pool {taken}", field="server", remedy="recall it")
        generation = self.generations.get(server, 0) + 1
        leases = {**self.leases, server: Lease(pool, generation)}
        reserved = {name: waiting for name, waiting in self.reserved.items() if name != server}
        return Ledger(leases, reserved, {**self.generations, server: generation})

    def recall(self, server: str, pool: str) -> "Ledger":
        """Ask the holder to give a server back for a pool; the first pool to ask stays first.

        Raises:
            DpuError: NOT_FOUND when nobody holds it.
        """
        lease = self._lease(server)
        if lease.holder == pool or lease.recalled_for:
            return self
        return replace(self, leases={**self.leases, server: replace(lease, recalled_for=pool)})

    def release(self, server: str, generation: int) -> "Ledger":
        """Take a server back from its holder once nothing runs on it any more.

        Raises:
            DpuError: NOT_FOUND when nobody holds it, STALE_GENERATION when it has changed hands since.
        """
        lease = self._lease(server)
        if lease.generation != generation:
            message = f"server {server} changed hands: generation {lease.generation}, not {generation}"
            raise DpuError(Reason.STALE_GENERATION, message, field="generation", remedy="look at the ledger again")
        leases = {name: held for name, held in self.leases.items() if name != server}
        reserved = {**self.reserved, server: lease.recalled_for} if lease.recalled_for else self.reserved
        return Ledger(leases, reserved, self.generations)

    def unreserve(self, server: str) -> "Ledger":
        """Let any pool have a free server that its claimant no longer needs."""
        return replace(self, reserved={name: pool for name, pool in self.reserved.items() if name != server})

    def _lease(self, server: str) -> Lease:
        lease = self.leases.get(server)
        if lease is None:
            raise DpuError(Reason.NOT_FOUND, f"nobody holds server {server}", field="server", remedy="list the ledger")
        return lease
