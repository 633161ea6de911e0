"""Authentication and authorization left to the API server: TokenReview and SubjectAccessReview, kept for seconds."""

import hashlib
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from coordinator.endpoints.callers import Caller
from coordinator.endpoints.objects import Object, Reviews
from coordinator.endpoints.subresources import GROUP, VERSION, Call
from proto.errors import DpuError
from proto.reasons import Reason

KEPT_S = 10.0
KEPT_REFUSALS_S = 2.0
KEPT_LIMIT = 4096

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Answers that are believed for a short while.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, Value]] = {}

    def get(self, key: Hashable) -> Value | None:
        """The answer, or None when there is none that is fresh enough."""
        until, value = self._answers.get(key, (0.0, None))
        return value if until > self._clock() else None

    def put(self, key: Hashable, value: Value, kept_s: float) -> None:
        """Believe an answer for ``kept_s`` seconds; the oldest goes when there are too many."""
        self._answers.pop(key, None)
        if len(self._answers) >= KEPT_LIMIT:
            self._answers.pop(next(iter(self._answers)))
        self._answers[key] = (self._clock() + kept_s, value)


class Delegated:
    """Asks the API server who a token is and what a caller may do.

    Args:
        reviews: the API server.
        clock: monotonic seconds.
    """

    def __init__(self, reviews: Reviews, clock: Callable[[], float] = time.monotonic) -> None:
        self._reviews = reviews
        self._callers: Kept[Caller] = Kept(clock)
        self._verdicts: Kept[tuple[bool, str]] = Kept(clock)

    async def authenticate(self, token: str) -> Caller:
        """The caller whose bearer token this is.

        Raises:
            DpuError: the token is not one (UNAUTHENTICATED).
        """
        key = hashlib.sha256(token.encode()).digest()
        known = self._callers.get(key)
        if known is not None:
            return known
        review = await self._reviews.create("authentication.k8s.io", "tokenreviews", {"token": token})
        status = review.get("status") or {}
        if not status.get("authenticated"):
            raise DpuError(
                Reason.UNAUTHENTICATED, "the token is not accepted", field="Authorization", remedy="get a new token"
            )
        caller = _caller(status.get("user") or {})
        self._callers.put(key, caller, KEPT_S)
        return caller

    async def authorize(self, caller: Caller, call: Call) -> None:
        """Let a call pass.

        Raises:
            DpuError: the caller may not do this (FORBIDDEN).
        """
        extra = tuple(sorted(caller.extra.items()))
        key = (caller.name, caller.groups, caller.uid, extra, call)
        verdict = self._verdicts.get(key)
        if verdict is None:
            review = await self._reviews.create("authorization.k8s.io", "subjectaccessreviews", _question(caller, call))
            status = review.get("status") or {}
            verdict = (bool(status.get("allowed")) and not status.get("denied"), str(status.get("reason") or ""))
            self._verdicts.put(key, verdict, KEPT_S if verdict[0] else KEPT_REFUSALS_S)
        if not verdict[0]:
            raise forbidden(caller, call, verdict[1])


def forbidden(caller: Caller, call: Call, why: str = "") -> DpuError:
    """The refusal of a call that its caller may not make.

    Args:
        caller: who.
        call: what.
        why: what the authorizer said.
    """
    reason = f": {why}" if why else ""
    scope = f'in the namespace "{call.namespace}"' if call.namespace else "at the cluster scope"
    return DpuError(
        Reason.FORBIDDEN,
        f'User "{caller.name}" cannot {call.verb} resource "{call.resource}" in API group "{GROUP}" {scope}{reason}',
        remedy=f"bind a role with verb {call.verb} on {call.resource} to that user",
    )


def _caller(user: Object) -> Caller:
    extra = {key: tuple(values) for key, values in (user.get("extra") or {}).items()}
    return Caller(str(user.get("username", "")), tuple(user.get("groups") or ()), str(user.get("uid") or ""), extra)


def _question(caller: Caller, call: Call) -> Object:
    return {
        "user": caller.name,
        "uid": caller.uid,
        "groups": list(caller.groups),
        "extra": {key: list(values) for key, values in caller.extra.items()},
        "resourceAttributes": {
            "group": GROUP,
            "version": VERSION,
            "resource": call.action.resource,
            "subresource": call.action.subresource,
            "verb": call.verb,
            "namespace": call.namespace,
            "name": call.name,
        },
    }
