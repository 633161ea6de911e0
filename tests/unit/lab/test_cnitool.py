"""cnitool is built once, where there is Go."""

from pathlib import Path

import pytest

from lab import cnitool, sanity
from lab.apt import PackageError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPUPOOL_CACHE", str(tmp_path / "cache"))


def test_without_go_there_is_none_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanity, "go", lambda: None)
    assert cnitool.ensure() is None
    assert cnitool.find() is None


def test_one_that_is_there_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanity, "go", lambda: "/bin/false")
    cnitool.binary().parent.mkdir(parents=True)
    cnitool.binary().write_text("", encoding="utf-8")
    assert cnitool.ensure() == cnitool.find() == cnitool.binary()


def test_a_build_goes_into_the_cache_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\necho "$@" > "$GOBIN/cnitool"\n', encoding="utf-8")
    go.chmod(0o755)
    monkeypatch.setattr(sanity, "go", lambda: str(go))
    built = cnitool.ensure()
    assert built is not None
    assert f"{cnitool.MODULE}@{cnitool.VERSION}" in built.read_text(encoding="utf-8")
    assert [path.name for path in built.parent.parent.iterdir()] == [cnitool.VERSION]


def test_a_build_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n", encoding="utf-8")
    go.chmod(0o755)
    monkeypatch.setattr(sanity, "go", lambda: str(go))
    with pytest.raises(PackageError, match="cnitool cannot be built: no such module"):
        cnitool.ensure()
