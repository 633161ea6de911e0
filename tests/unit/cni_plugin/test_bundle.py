"""Joining the modules into one file keeps their meaning, and refuses what would change it."""

import importlib.util
import stat
from collections.abc import Callable
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def bundler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cni_bundle", ROOT / "packaging" / "cni" / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path: Path, bundler: ModuleType) -> Path:
    folder = tmp_path / "cni_plugin"
    folder.mkdir()
    for name in bundler.MODULES:
        (folder / f"{name}.py").write_text('"""Promise."""\n')
    return folder


def test_every_module_of_the_package_is_joined(bundler: ModuleType) -> None:
    found = {path.stem for path in (ROOT / "cni_plugin").glob("*.py")}
    assert found == {"__init__", *bundler.MODULES}


def test_docstrings_and_imports_of_siblings_stay_behind(bundler: ModuleType, package: Path) -> None:
    (package / "codes.py").write_text('class Broken(Exception):\n    """It broke."""\n')
    (package / "main.py").write_text("import posix\nfrom cni_plugin.codes import Broken\nraise Broken\n")
    text = bundler.bundle(package)
    assert text.splitlines() == ["import posix", "class Broken(Exception):", "    pass", "raise Broken"]


def test_annotations_stay_behind_and_meaning_does_not(bundler: ModuleType, package: Path) -> None:
    (package / "main.py").write_text("def add(a: int, *more: int, by: int = 1) -> int:\n  return a + by + sum(more)\n")
    text = bundler.bundle(package)
    assert "int" not in text
    names: dict[str, Callable[..., int]] = {}
    exec(text, names)  # noqa: S102  (what the interpreter does with it)
    assert names["add"](1, 10, by=100) == 111


@pytest.mark.parametrize("same_version", [True, False])
def test_the_file_runs_under_the_interpreter_that_made_it_and_under_any_other(
    bundler: ModuleType, *, same_version: bool
) -> None:
    file = bundler.executable("answer = 6 * 7\n")
    if not same_version:
        assert repr(MAGIC_NUMBER) in file
        file = file.replace(repr(MAGIC_NUMBER), "b'other'").replace("6 * 7", "6 * 8")
    names: dict[str, int] = {}
    exec(file, names)  # noqa: S102  (what the interpreter does with it)
    assert names["answer"] == (42 if same_version else 48)


def test_one_name_with_two_meanings_is_refused(bundler: ModuleType, package: Path) -> None:
    (package / "codes.py").write_text("LIMIT = 1\n")
    (package / "main.py").write_text("LIMIT = 2\n")
    with pytest.raises(bundler.BundleError, match="LIMIT is defined in codes and in main"):
        bundler.bundle(package)


@pytest.mark.parametrize(
    "line",
    ["from cni_plugin.main import later", "from cni_plugin.codes import LIMIT as TOP", "from cni_plugin import codes"],
)
def test_an_import_that_cannot_be_joined_is_refused(bundler: ModuleType, package: Path, line: str) -> None:
    (package / "codes.py").write_text("LIMIT = 1\n")
    (package / "frame.py").write_text(f"{line}\n")
    with pytest.raises(bundler.BundleError, match="frame, line 1"):
        bundler.bundle(package)


def test_the_file_is_put_in_place_whole(bundler: ModuleType, tmp_path: Path) -> None:
    target = tmp_path / "dist" / "dpu-cni"
    bundler.write("first", target)
    old = target.stat().st_ino
    bundler.write("second", target)
    assert target.read_text() == "second"
    assert target.stat().st_ino != old
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert list(target.parent.iterdir()) == [target]
