"""Who may use the BMC: Basic authentication, and Redfish sessions with a token."""

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from lab.chassis.redfish.replies import Document, body_of, document, done
from proto.errors import DpuError
from proto.reasons import Reason

SESSIONS = "/redfish/v1/SessionService/Sessions"
OPEN_TO_ALL = {"/redfish", "/redfish/v1", "/redfish/v1/"}
SESSION_LIMIT = 64

USER = web.RequestKey("user", str)


@dataclass
class Session:
    """A logged-in client; the clock is monotonic, in seconds."""

    identity: str
    token: str
    user: str
    used_at: float


class Gate:
    """Checks every request and keeps the sessions, which end with the process."""

    def __init__(
        self, username: str, password: str, idle_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._username = username
        self._password = password
        self._idle_s = idle_s
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def middleware(self) -> Middleware:
        """The check, for the application."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            logging_in = request.method == "POST" and request.path.rstrip("/") == SESSIONS
            if request.path not in OPEN_TO_ALL and not logging_in:
                request[USER] = self._user(request)
            return await handler(request)

        return check

    def _user(self, request: web.Request) -> str:
        token = request.headers.get("X-Auth-Token", "")
        if token:
            return self._by_token(token).user
        return self._by_basic(request.headers.get("Authorization", ""))

    def _by_token(self, token: str) -> Session:
        self._expire()
        for session in self._sessions.values():
            if hmac.compare_digest(session.token.encode(), token.encode()):
                session.used_at = self._clock()
                return session
        raise DpuError(Reason.UNAUTHENTICATED, "the session has ended or never was", remedy="log in again")

    def _by_basic(self, header: str) -> str:
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            raise DpuError(Reason.UNAUTHENTICATED, "authentication is required", remedy="send X-Auth-Token or Basic")
        try:
            username, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as failure:
            raise DpuError(Reason.UNAUTHENTICATED, "the Authorization header is malformed") from failure
        self._check(username, password)
        return username

    def _check(self, username: str, password: str) -> None:
        right = hmac.compare_digest(username.encode(), self._username.encode())
        right &= hmac.compare_digest(password.encode(), self._password.encode())
        if not right:
            raise DpuError(Reason.UNAUTHENTICATED, "wrong user name or password", remedy="check the BMC's credentials")

    def _expire(self) -> None:
        oldest = self._clock() - self._idle_s
        self._sessions = {key: session for key, session in self._sessions.items() if session.used_at > oldest}

    async def log_in(self, request: web.Request) -> web.Response:
        """POST to the session collection."""
        body = await body_of(request)
        username, password = body.get("UserName"), body.get("Password")
        if not isinstance(username, str) or not isinstance(password, str):
            remedy = "send both as strings"
            raise DpuError(Reason.INVALID, "UserName and Password are needed", field="UserName", remedy=remedy)
        self._check(username, password)
        self._expire()
        if len(self._sessions) >= SESSION_LIMIT:
            raise DpuError(Reason.EXHAUSTED, f"there are {SESSION_LIMIT} sessions", remedy="end some, or wait")
        session = Session(secrets.token_hex(6), secrets.token_urlsafe(32), username, self._clock())
        self._sessions[session.identity] = session
        headers = {"X-Auth-Token": session.token, "Location": f"{SESSIONS}/{session.identity}"}
        return document(session_document(session), status=201, headers=headers)

    async def log_out(self, request: web.Request) -> web.Response:
        """DELETE of a session."""
        self._session(request)
        del self._sessions[request.match_info["session"]]
        return done()

    async def show_sessions(self, _: web.Request) -> web.Response:
        """The collection."""
        self._expire()
        members = [{"@odata.id": f"{SESSIONS}/{identity}"} for identity in self._sessions]
        return document(
            {
                "@odata.id": SESSIONS,
                "@odata.type": "#SessionCollection.SessionCollection",
                "Name": "Sessions",
                "Members": members,
                "Members@odata.count": len(members),
            }
        )

    async def show_session(self, request: web.Request) -> web.Response:
        """One session; never its token."""
        return document(session_document(self._session(request)))

    def _session(self, request: web.Request) -> Session:
        self._expire()
        found = self._sessions.get(request.match_info["session"])
        if found is None:
            raise DpuError(Reason.NOT_FOUND, f"there is no session {request.match_info['session']}")
        return found


def session_document(session: Session) -> Document:
    return {
        "@odata.id": f"{SESSIONS}/{session.identity}",
        "@odata.type": "#Session.v1_6_0.Session",
        "Id": session.identity,
        "Name": f"Session {session.identity}",
        "UserName": session.user,
    }
