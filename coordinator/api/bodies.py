"""Bodies in, answers out: the HTTP edge of JSON objects."""

import hashlib
from typing import Any

import msgspec
import yaml
from aiohttp import web

from coordinator.api import protobuf
from coordinator.api.errors import ApiError, bad_request, too_large, unsupported_media_type
from coordinator.api.objects import Obj, decode, encode
from coordinator.api.request import truth
from coordinator.api.shaping import FieldValidation
from coordinator.api.writes import Options

LIMIT_BYTES = 3 << 20
JSON_TYPE = "application/json"


class _JsonLoader(yaml.SafeLoader):
    """YAML whose scalars are JSON's: a date stays a text."""


_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


async def read_raw(request: web.Request) -> bytes:
    """The request's body.

    Raises:
        ApiError: 413, it is larger than the server takes.
    """
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large(LIMIT_BYTES) from error


def parse_yaml(raw: bytes) -> Any:
    """Value of a YAML (or JSON) text.

    Raises:
        ApiError: 400.
    """
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return decode(encode(yaml.load(raw, _JsonLoader)))  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.EncodeError, TypeError, ValueError) as error:
        raise bad_request(f"error decoding YAML: {error}") from error


def parse_json(raw: bytes) -> Any:
    """Value of a JSON text.

    Raises:
        ApiError: 400.
    """
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is not valid JSON: {error}") from error


async def read_object(request: web.Request) -> Obj:
    """The object in the request's body: JSON, YAML or protobuf.

    Raises:
        ApiError: 400 not an object, 413 too large, 415 another language.
    """
    raw = await read_raw(request)
    kind = request.content_type
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.read(raw, status_only=request.path.endswith("/status"))
    if kind in {"application/yaml", "application/x-yaml"}:
        found = parse_yaml(raw)
    elif kind in {JSON_TYPE, "application/octet-stream", "text/plain", "application/x-www-form-urlencoded"}:
        found = parse_json(raw)
    else:
        raise unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: "
            f"application/json, application/yaml, {protobuf.MEDIA_TYPE}"
        )
    if not isinstance(found, dict):
        raise bad_request("the body must be an object with apiVersion and kind")
    return found


async def read_optional(request: web.Request) -> Obj | None:
    """The object in the body, or None when there is no body."""
    return await read_object(request) if await read_raw(request) else None


def write_options(request: web.Request) -> Options:
    """Options of a write, from the query.

    Raises:
        ApiError: 400, an option makes no sense.
    """
    query = request.query
    mode, dry = query.get("fieldValidation", ""), query.get("dryRun", "")
    try:
        validation = FieldValidation(mode) if mode else FieldValidation.WARN
    except ValueError:
        allowed = ", ".join(f'"{each.value}"' for each in FieldValidation)
        raise bad_request(f'fieldValidation: Unsupported value: "{mode}": supported values: {allowed}') from None
    if dry not in {"", "All"}:
        raise bad_request(f'dryRun: Unsupported value: "{dry}": supported values: "All"')
    agent = request.headers.get("User-Agent", "unknown").split("/")[0][:128]
    manager = query.get("fieldManager", "")
    return Options(
        manager=manager or agent or "unknown",
        manager_given=bool(manager),
        validation=validation,
        dry_run=bool(dry),
        force=truth(query.get("force")),
    )


def answer(value: Obj | bytes, status: int = 200, content_type: str = JSON_TYPE) -> web.Response:
    """A JSON answer."""
    body = value if isinstance(value, bytes) else encode(value)
    return web.Response(body=body, status=status, headers={"Content-Type": content_type})


def refusal(error: ApiError) -> web.Response:
    """The answer to a request that is refused."""
    response = answer(error.status(), error.code)
    if error.code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="dpupool"'
    return response


def warn(response: web.StreamResponse, warnings: list[str]) -> None:
    """Attach warnings as kubectl prints them."""
    for text in warnings:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')


def digest(value: Any) -> str:
    """A hash of a JSON value, for caches."""
    return hashlib.sha256(encode(value)).hexdigest()[:32].upper()
