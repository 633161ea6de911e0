"""The daemon of a DPU, of a storage node, of a host."""

import sys

# structlog loads rich, 4 MB of it, for coloured tracebacks that a daemon never prints; `check` loads it by itself.
_HIDDEN = "rich" not in sys.modules and "structlog" not in sys.modules
if _HIDDEN:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog as structlog  # noqa: E402

if _HIDDEN:
    del sys.modules["rich"]
