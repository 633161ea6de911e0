"""What is read from a machine's apt configuration."""

from pathlib import Path

import pytest

from lab.apt import PackageError, PrivateSuite, Source, configured_sources, mirror_of

DEB822 = """\
# comment: with a colon
Types: deb deb-src
URIs: http://mirror.example/debian http://other.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def tree(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / name.replace("__", "/").replace("_dot_", ".")).write_text(text)
    return tmp_path


def test_both_formats_of_sources_are_read(tmp_path: Path) -> None:
    old = (
        "# deb http://no.example x main\ndeb [arch=amd64 signed-by=/k.gpg] http://old.example/d bookworm main contrib\n"
    )
    root = tree(tmp_path, sources_dot_list=old, sources_dot_list_dot_d__a_dot_sources=DEB822)
    assert configured_sources(root) == [
        Source("http://old.example/d", ("bookworm",), "/k.gpg"),
        Source("http://mirror.example/debian", ("bookworm", "bookworm-updates"), "/usr/share/keyrings/debian.gpg"),
        Source("http://other.example/debian", ("bookworm", "bookworm-updates"), "/usr/share/keyrings/debian.gpg"),
    ]


def test_source_packages_alone_are_no_mirror(tmp_path: Path) -> None:
    root = tree(tmp_path, sources_dot_list="deb-src http://src.example/d bookworm main\n")
    assert configured_sources(root) == []


def test_the_mirror_is_the_one_that_carries_the_release() -> None:
    security = Source("http://sec.example", ("bookworm-security",))
    main = Source("http://main.example", ("bookworm", "bookworm-updates"))
    assert mirror_of("bookworm", [security, main]) is main


def test_a_machine_without_the_releases_mirror_is_told_what_to_add() -> None:
    with pytest.raises(PackageError, match="no apt source for suite bookworm"):
        mirror_of("bookworm", [Source("http://sec.example", ("bookworm-security",))])


def test_a_private_suite_writes_only_into_its_own_folder_and_points_apt_there(tmp_path: Path) -> None:
    suite = PrivateSuite("bookworm-backports", Source("http://m.example/d", ("bookworm",), "/k.gpg"), tmp_path)
    text = (tmp_path / "sources.d" / "suite.sources").read_text()
    assert text.splitlines()[1:] == [
        "URIs: http://m.example/d",
        "Suites: bookworm-backports",
        "Components: main",
        "Signed-By: /k.gpg",
    ]
    assert "Dir::Etc::SourceList=/dev/null" in suite.options
    assert f"Dir::State::Lists={tmp_path / 'lists'}" in suite.options
