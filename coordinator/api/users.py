"""Who asks: bearer tokens and client certificates.

Headers such as X-Remote-User, which a front proxy would set, are believed from nobody.
"""

import csv
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"


@dataclass(frozen=True)
class UserInfo:
    """An identity."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""

    def to_json(self) -> dict[str, Any]:
        """As authentication.k8s.io writes it."""
        found: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        return found | ({"uid": self.uid} if self.uid else {})


ANONYMOUS = UserInfo("system:anonymous", (UNAUTHENTICATED,))


class TokenFileError(Exception):
    """The token file cannot be used; the message names file, line and remedy."""


class Authenticator:
    """Knows users by token and by certificate.

    Args:
        tokens: token to user.
    """

    def __init__(self, tokens: Mapping[str, UserInfo] | None = None) -> None:
        self._tokens = {token.encode(): user for token, user in (tokens or {}).items()}

    def by_token(self, token: str) -> UserInfo | None:
        """The user of a bearer token; all are compared, in constant time each, so that timing tells nothing."""
        found = None
        for known, user in self._tokens.items():
            if hmac.compare_digest(known, token.encode()):
                found = user
        return found

    @staticmethod
    def by_certificate(certificate: Mapping[str, Any] | None) -> UserInfo | None:
        """The user of a verified client certificate: CN is the name, each O a group."""
        names: list[str] = []
        groups: list[str] = []
        for part in (certificate or {}).get("subject", ()):
            for kind, value in part:
                if kind == "commonName":
                    names.append(value)
                elif kind == "organizationName":
                    groups.append(value)
        return UserInfo(names[-1], (*groups, AUTHENTICATED)) if names else None


def _row(row: list[str], where: str) -> tuple[str, UserInfo]:
    if len(row) < 3 or not row[0] or not row[1]:
        raise TokenFileError(f'{where}: a line is token,user,uid[,"group1,group2"]')
    groups = [group.strip() for group in row[3].split(",") if group.strip()] if len(row) > 3 else []
    return row[0], UserInfo(row[1], (*groups, AUTHENTICATED), row[2])


def parse_tokens(lines: Iterable[str], source: str) -> dict[str, UserInfo]:
    """Users by token, of a static token file's lines.

    Raises:
        TokenFileError: a line is malformed, or a token is given twice.
    """
    found: dict[str, UserInfo] = {}
    for number, row in enumerate(csv.reader(lines, skipinitialspace=True), 1):
        if not row or row[0].startswith("#"):
            continue
        token, user = _row([cell.strip() for cell in row], f"{source}:{number}")
        if token in found:
            raise TokenFileError(f"{source}:{number}: the token of {found[token].name} is used again for {user.name}")
        found[token] = user
    return found


def read_tokens(path: Path) -> dict[str, UserInfo]:
    """Users by token, of a static token file.

    Raises:
        TokenFileError: unreadable or malformed.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return parse_tokens(file, str(path))
    except OSError as error:
        raise TokenFileError(f"{path}: cannot be read ({error.strerror}): check the path and its owner") from error
