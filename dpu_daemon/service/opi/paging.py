"""Pages of a list: a token names the last object given out, so that it stays good while others come and go."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from dpu_daemon.service.validation import invalid

T = TypeVar("T")
DEFAULT_PAGE = 50
LARGEST_PAGE = 250
_MARK_BYTES = 6


def page_of(items: Sequence[T], name: Callable[[T], str], scope: str, size: int, token: str) -> tuple[Sequence[T], str]:
    """A page and the token of the next one; an empty token ends the list.

    Args:
        items: the whole list, ordered by name.
        name: of an item.
        scope: collection and parent; a token of another one is refused.
        size: asked for; 0 for the default, larger than the largest is cut.
        token: of the page before; empty for the first.

    Raises:
        DpuError: INVALID for a negative size, or a token that this list did not give out.
    """
    if size < 0:
        raise invalid("page_size", f"{size} is negative", f"use 0 for {DEFAULT_PAGE}, or up to {LARGEST_PAGE}")
    after = _opened(scope, token) if token else ""
    rest = [item for item in items if name(item) > after]
    page = rest[: min(size or DEFAULT_PAGE, LARGEST_PAGE)]
    more = len(rest) > len(page)
    return page, _sealed(scope, name(page[-1])) if more else ""


def _sealed(scope: str, after: str) -> str:
    return base64.urlsafe_b64encode(_mark(scope, after) + after.encode()).decode()


def _opened(scope: str, token: str) -> str:
    try:
        raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        after = raw[_MARK_BYTES:].decode()
    except (binascii.Error, UnicodeError):
        raw, after = b"", ""
    if not raw or raw[:_MARK_BYTES] != _mark(scope, after):
        raise invalid("page_token", "was not given out for this list", "begin again without a token")
    return after


def _mark(scope: str, after: str) -> bytes:
    """Tells a token of another list, or one that was cut; it protects nothing."""
    return hashlib.sha256(f"{scope}\n{after}".encode()).digest()[:_MARK_BYTES]
