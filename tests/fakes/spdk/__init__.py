"""A fake SPDK process: JSON-RPC on a Unix socket, with the errors, limits and traps that were measured on real ones."""

from tests.fakes.spdk.fabric import Fabric
from tests.fakes.spdk.process import FakeSpdk

__all__ = ["Fabric", "FakeSpdk"]
