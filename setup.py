"""Makes what is made before the packages are collected: protobuf modules, manifests; the rest is in pyproject.toml."""

import shutil
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


def copy_manifests() -> None:
    """Put the CRD manifests into the coordinator's package: an installed one serves them, too."""
    target = ROOT / "coordinator" / "crds"
    target.mkdir(exist_ok=True)
    for manifest in sorted((ROOT / "packaging" / "kubernetes" / "crds").glob("*.yaml")):
        shutil.copyfile(manifest, target / manifest.name)


class BuildWithProtos(build_py):  # type: ignore[misc]  # setuptools ships no types
    """build_py that first writes the *_pb2 modules and gathers the manifests."""

    def run(self) -> None:
        generate()
        copy_manifests()
        super().run()


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildWithProtos})
