"""What is answered without the daemon: VERSION, errors of our own, and a person who runs the program by hand.

Only these paths pay for `json`.
"""

from cni_plugin.codes import CniError

SUPPORTED = ("0.4.0", "1.0.0", "1.1.0")
NEWEST = "1.1.0"
ABOUT = b"dpupool CNI plug-in: run by a container runtime, with CNI_COMMAND set; CNI versions 0.4.0, 1.0.0, 1.1.0\n"


def version(config: bytes) -> bytes:
    """The answer to VERSION, in the version that the caller speaks."""
    import json  # noqa: PLC0415  (13 ms that a forwarded call does not pay)

    return json.dumps({"cniVersion": asked_version(config), "supportedVersions": SUPPORTED}).encode()


def error(failed: CniError, config: bytes) -> bytes:
    """A CNI error object for standard output."""
    import json  # noqa: PLC0415  (13 ms that a forwarded call does not pay)

    return json.dumps(
        {
            "cniVersion": asked_version(config),
            "code": failed.code,
            "msg": failed.message,
            "details": failed.remedy,
        }
    ).encode()


def asked_version(config: bytes) -> str:
    """`cniVersion` of a configuration; our newest when it says none that can be read."""
    import json  # noqa: PLC0415  (13 ms that a forwarded call does not pay)

    try:
        asked = json.loads(config).get("cniVersion")
    except (ValueError, AttributeError, RecursionError):
        return NEWEST
    return asked if isinstance(asked, str) and asked else NEWEST
