"""Reviews: may I, who am I, may they, whose token is this."""

from dataclasses import replace

from aiohttp import web

from coordinator.api import rules
from coordinator.api.bodies import answer, read_object
from coordinator.api.errors import bad_request
from coordinator.api.objects import Obj, dig, now, timestamp
from coordinator.api.request import RequestInfo, Verb
from coordinator.api.routes import Call, ExtraResource, Handler, RouteGroup
from coordinator.api.rules import Authorizer
from coordinator.api.users import Authenticator, UserInfo

AUTHORIZATION = "authorization.k8s.io"
AUTHENTICATION = "authentication.k8s.io"


def _verb(text: str) -> Verb:
    return next((verb for verb in Verb if verb.value == text), Verb.OTHER)


def _attributes(spec: Obj) -> RequestInfo:
    found, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if bool(found) == bool(path):
        raise bad_request("spec: exactly one of resourceAttributes and nonResourceAttributes must be given")
    verb = _verb(str((found or path or {}).get("verb", "")))
    if path:
        return RequestInfo(str(path.get("path", "")), verb)
    parts = {name: str(dig(found, name) or "") for name in ("group", "version", "namespace", "name", "subresource")}
    return replace(RequestInfo("", verb, resource=str(dig(found, "resource") or "*")), **parts)  # type: ignore[arg-type]


class Reviews:
    """Answers reviews by the rules that requests are judged by."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer

    async def _reply(self, call: Call, kind: str, sent: Obj, status: Obj) -> web.Response:
        body: Obj = {"kind": kind, "apiVersion": f"{call.info.group}/{call.info.version}"}
        body |= {"metadata": {"creationTimestamp": timestamp(now())}}
        return answer(body | ({"spec": sent["spec"]} if "spec" in sent else {}) | {"status": status}, 201)

    def _decide(self, user: UserInfo, spec: Obj) -> Obj:
        info = _attributes(spec)
        allowed = self._authorizer.allows(user, info)
        return {"allowed": allowed} | ({} if allowed else {"reason": rules.refusal(user, info)})

    async def self_access(self, call: Call) -> web.StreamResponse:
        """Whether the caller may do something."""
        sent = await read_object(call.request)
        return await self._reply(call, "SelfSubjectAccessReview", sent, self._decide(call.user, sent.get("spec") or {}))

    async def access(self, call: Call) -> web.StreamResponse:
        """Whether somebody else may do something."""
        sent = await read_object(call.request)
        spec = sent.get("spec") or {}
        user = UserInfo(str(spec.get("user", "")), tuple(spec.get("groups") or ()))
        return await self._reply(call, "SubjectAccessReview", sent, self._decide(user, spec))

    async def self_rules(self, call: Call) -> web.StreamResponse:
        """What the caller may do."""
        sent = await read_object(call.request)
        found = [rules.to_json(rule) for rule in self._authorizer.rules(call.user)]
        status: Obj = {
            "resourceRules": [rule for rule in found if "resources" in rule],
            "nonResourceRules": [rule for rule in found if "nonResourceURLs" in rule],
            "incomplete": False,
        }
        return await self._reply(call, "SelfSubjectRulesReview", sent | {"spec": sent.get("spec") or {}}, status)

    async def self_subject(self, call: Call) -> web.StreamResponse:
        """Who the caller is."""
        return await self._reply(call, "SelfSubjectReview", {}, {"userInfo": call.user.to_json()})

    async def token(self, call: Call) -> web.StreamResponse:
        """Whose a token is; the token itself is not repeated."""
        sent = await read_object(call.request)
        user = self._authenticator.by_token(str(dig(sent, "spec", "token") or ""))
        status: Obj = {"authenticated": user is not None}
        status |= {"user": user.to_json()} if user else {"error": "the token is unknown"}
        return await self._reply(call, "TokenReview", {"spec": {}}, status)

    def route_groups(self) -> tuple[RouteGroup, ...]:
        """The reviews, to be served."""
        may_i = _review("SelfSubjectAccessReview", self.self_access)
        what = _review("SelfSubjectRulesReview", self.self_rules)
        may_they = _review("SubjectAccessReview", self.access)
        who = _review("SelfSubjectReview", self.self_subject)
        whose = _review("TokenReview", self.token)
        return (
            RouteGroup(AUTHORIZATION, "v1", (may_i, what, may_they)),
            RouteGroup(AUTHENTICATION, "v1", (who, whose)),
        )


def _review(kind: str, handler: Handler) -> ExtraResource:
    singular = kind.lower()
    return ExtraResource(f"{singular}s", kind, namespaced=False, verbs=("create",), handler=handler, singular=singular)
