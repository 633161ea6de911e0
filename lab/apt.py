"""What the lab asks of the machine's package tools. Standard library only: it runs before the venv exists.

Nothing here changes the machine's apt configuration: packages of another suite are found through a private
sources list and private package lists, made from the mirror that the machine itself is configured with.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from proto.errors import DpuError
from proto.reasons import Reason

APT_SOURCES = Path("/etc/apt")
TIMEOUT_S = 900


class PackageError(DpuError):
    """The machine cannot give what the lab needs; the text says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.UNAVAILABLE, message)


@dataclass(frozen=True)
class Source:
    """One mirror of the machine's apt configuration.

    Attributes:
        uri: where the archive is.
        suites: suites taken from it, such as ``bookworm``.
        signed_by: keyring file, or empty for apt's default.
    """

    uri: str
    suites: tuple[str, ...]
    signed_by: str = ""


def os_release() -> dict[str, str]:
    """Fields of /etc/os-release, without quotes."""
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip('"') for key, _, value in pairs}


def installed(names: Iterable[str]) -> set[str]:
    """Those of the packages that are installed and configured."""
    asked = sorted(set(names))
    command = ["dpkg-query", "-W", "-f", "${Package} ${Status}\n", *asked]
    out = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S).stdout
    return {line.split()[0] for line in out.splitlines() if line.endswith("install ok installed")}


def run_apt(arguments: list[str], *, cwd: Path | None = None) -> str:
    """Run apt-get without questions and return what it said.

    Raises:
        PackageError: apt-get failed; its last lines are in the text.
    """
    command = ["apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Sandbox::User=root", *arguments]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env, timeout=TIMEOUT_S)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-6:])
        raise PackageError(f"{' '.join(command)} failed:\n{said}")
    return done.stdout


def install(names: Iterable[str]) -> list[str]:
    """Install what is missing, refreshing the package lists once; returns what was missing."""
    wanted = sorted(set(names))
    have = installed(wanted)
    missing = [name for name in wanted if name not in have]
    if missing:
        run_apt(["update"])
        run_apt(["install", "--no-install-recommends", *missing])
    return missing


def unpack_debs(folder: Path, target: Path) -> None:
    """Unpack every .deb of a folder into the target, without installing."""
    for deb in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(deb), str(target)], check=True, capture_output=True, timeout=TIMEOUT_S)


def download(names: list[str], folder: Path, options: Iterable[str] = ()) -> list[Path]:
    """Download packages, without what they depend on, into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    run_apt([*options, "download", *names], cwd=folder)
    return sorted(folder.glob("*.deb"))


def candidate(name: str, options: Iterable[str] = ()) -> str:
    """Version that apt would install, empty when it knows none."""
    command = ["apt-cache", *options, "policy", name]
    out = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S).stdout
    found = re.search(r"Candidate: (\S+)", out)
    return "" if found is None or found[1] == "(none)" else found[1]


def depends(name: str) -> list[str]:
    """Names of the packages that a package depends on directly."""
    command = ["apt-cache", "depends", name]
    out = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S).stdout
    return re.findall(r"Depends: (\S+)", out)


def configured_sources(root: Path = APT_SOURCES) -> list[Source]:
    """Mirrors that the machine uses, from both formats of apt's configuration."""
    files = [root / "sources.list", *sorted((root / "sources.list.d").glob("*.list"))]
    found = [source for file in files if file.exists() for source in _one_line(file.read_text(encoding="utf-8"))]
    for file in sorted((root / "sources.list.d").glob("*.sources")):
        found += list(_deb822(file.read_text(encoding="utf-8")))
    return found


def _one_line(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+\S+", line.strip())
        if match:
            signed = re.search(r"signed-by=(\S+)", match[1] or "")
            yield Source(match[2], (match[3],), signed[1] if signed else "")


def _deb822(text: str) -> Iterator[Source]:
    for stanza in re.split(r"\n\s*\n", text):
        lines = (line for line in stanza.splitlines() if not line.startswith("#"))
        fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
            for uri in fields.get("uris", "").split():
                yield Source(uri, tuple(fields.get("suites", "").split()), fields.get("signed-by", ""))


def mirror_of(codename: str, sources: Iterable[Source]) -> Source:
    """The mirror that carries the release itself, and so its backports.

    Raises:
        PackageError: none of the configured mirrors does.
    """
    for source in sources:
        if codename in source.suites:
            return source
    raise PackageError(f"no apt source for suite {codename} under {APT_SOURCES}; add the distribution's own mirror")


class PrivateSuite:
    """A suite of the machine's own mirror, seen through package lists of its own.

    Args:
        suite: such as ``bookworm-backports``.
        source: mirror to take it from.
        folder: where lists are kept while this object is in use.
    """

    def __init__(self, suite: str, source: Source, folder: Path) -> None:
        self._folder = folder
        parts = folder / "sources.d"
        for sub in (parts, folder / "lists" / "partial", folder / "empty"):
            sub.mkdir(parents=True, exist_ok=True)
        stanza = f"Types: deb\nURIs: {source.uri}\nSuites: {suite}\nComponents: main\n"
        stanza += f"Signed-By: {source.signed_by}\n" if source.signed_by else ""
        (parts / "suite.sources").write_text(stanza, encoding="utf-8")

    @property
    def options(self) -> list[str]:
        """Options that make apt see this suite alone."""
        where = {
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": str(self._folder / "sources.d"),
            "Dir::Etc::PreferencesParts": str(self._folder / "empty"),
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::State::Lists": str(self._folder / "lists"),
        }
        return [word for key, value in where.items() for word in ("-o", f"{key}={value}")]

    def refresh(self) -> None:
        """Fetch the suite's package lists."""
        run_apt([*self.options, "update"])


def private_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for one use of a private suite."""
    return tempfile.TemporaryDirectory(prefix="dpupool-apt-")


def which(name: str) -> Path | None:
    """Path of a program; looks in the administrator's folders too, whatever PATH says."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin")
    return Path(found) if found else None
