"""Tables of the settings file that every mode of the daemon has."""

from enum import Enum
from pathlib import Path

import msgspec


class Mode(Enum):
    """What a daemon is."""

    DPU = "dpu"
    STORAGE = "storage"
    HOST = "host"


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class TlsSection(Section, frozen=True):
    """PEM files; read again on SIGHUP and when they change.

    Attributes:
        ca: whose signature makes a caller believed.
        cert: this daemon's chain.
        key: its private key, readable by the daemon alone.
    """

    ca: Path
    cert: Path
    key: Path


class MetricsSection(Section, frozen=True):
    """Prometheus.

    Attributes:
        listen: ``address:port`` of the plain HTTP endpoint; empty for none, because metrics name volumes and machines.
    """

    listen: str = ""


class TimesSection(Section, frozen=True):
    """Seconds.

    Attributes:
        drain_s: how long running operations may take when the daemon is told to stop; the units allow 90 for all.
        audit_s: between two comparisons of everything; a look costs milliseconds.
    """

    drain_s: float = 20.0
    audit_s: float = 10.0
