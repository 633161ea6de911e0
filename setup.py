"""Builds the protobuf modules before the packages are collected; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def generate() -> None:
    """Compile every .proto under proto/ next to its source.

    Raises:
        SystemExit: protoc refused a file; its message is already on stderr.
    """
    import grpc_tools  # noqa: PLC0415  (only present in the build environment)
    from grpc_tools import protoc  # noqa: PLC0415

    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "proto").rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    args = ["protoc", f"-I{ROOT}", f"-I{well_known}"]
    args += [f"--{kind}={ROOT}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    if sources and protoc.main([*args, *sources]) != 0:
        raise SystemExit("protoc failed")


class BuildWithProtos(build_py):  # type: ignore[misc]  # setuptools ships no types
    """build_py that first writes the *_pb2 modules."""

    def run(self) -> None:
        generate()
        super().run()


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildWithProtos})
