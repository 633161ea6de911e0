"""The attacher on somebody else's DPU: everything is asked of an OPI server over gRPC."""

from dpu_daemon.drivers.opi.block import OpiBlock
from dpu_daemon.drivers.opi.bus import OpiBus
from dpu_daemon.drivers.opi.server import OpiServer, OpiTls

__all__ = ["OpiBlock", "OpiBus", "OpiServer", "OpiTls"]
