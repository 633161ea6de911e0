"""Builds netdevsim, the kernel's simulated switch device, for the guest's kernel: it makes switchdev representors.

Debian's kernels come without it, and as it is it takes no flower rules. So the driver's source is taken from
the distribution's kernel source, given a driver's answer to such rules, and built as a module with the
distribution's headers. The source stays in the cache folder: it is under the GPL and no part of this project.
"""

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from lab import apt, qemu
from lab.image.kernel import Kernel, ensure
from lab.image.shell import ImageError, run

OBJECTS = "netdev dev ethtool fib bus health hwstats udp_tunnels bpf ipsec psample"
CALL = "\treturn nsim_bpf_setup_tc_block_cb(type, type_data, cb_priv);\n"
ANSWER = """\
	if (type == TC_SETUP_CLSFLOWER) {
		struct netdevsim *ns = cb_priv;
		struct flow_cls_offload *flower = type_data;

		if (flower->command != FLOW_CLS_REPLACE)
			return 0;
		if (!tc_cls_can_offload_and_chain0(ns->netdev, &flower->common))
			return -EOPNOTSUPP;
		return flower->common.protocol == htons(ETH_P_IPV6) ? -EOPNOTSUPP : 0;
	}
"""
"""Takes rules while hw-tc-offload is on, as drivers of cards do; refuses IPv6, as if that were beyond the hardware."""


def ensure_module() -> Path:
    """The module for the guest's kernel, built once and kept in the cache folder.

    Raises:
        PackageError, ImageError: the archive has no source or headers for it, or it cannot be built.
    """
    linux = ensure()
    target = qemu.cache_folder() / "netdevsim" / linux.release / "netdevsim.ko"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with apt.private_folder() as scratch:
            built = _build(linux, Path(scratch))
            partial = target.with_name(f".{target.name}.{os.getpid()}")
            run("strip", "--strip-debug", "-o", partial, built)
            partial.rename(target)
    return target


def _build(linux: Kernel, scratch: Path) -> Path:
    headers, source = _packages(linux.release)
    apt.run_apt(["download", *headers, source], cwd=scratch)
    tree = scratch / "root"
    for deb in scratch.glob("*.deb"):
        if not deb.name.startswith("linux-source"):
            subprocess.run(["dpkg", "-x", str(deb), str(tree)], check=True, capture_output=True)
    folder = scratch / "netdevsim"
    _unpack_driver(next(scratch.glob("linux-source-*.deb")), folder)
    _teach(folder)
    build = tree / "usr" / "src" / f"linux-headers-{linux.release}"
    makefile = build / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{tree}/usr/src/"))
    run("make", "-C", build, f"M={folder}", "-j2", "modules")
    return folder / "netdevsim.ko"


def _packages(release: str) -> tuple[list[str], str]:
    """The headers of a kernel with all that they stand on, and the source of that very version."""
    name = f"linux-headers-{release}"
    version = apt.candidate(name)
    if not version:
        apt.run_apt(["update"])
        version = apt.candidate(name)
    if not version:
        raise apt.PackageError(f"apt has no {name}: remove the older kernel from {qemu.cache_folder() / 'kernel'}")
    series = re.match(r"\d+\.\d+", release)
    assert series is not None
    needed = [one for one in apt.depends(name) if one.startswith("linux-")]
    return [f"{one}={version}" for one in (name, *needed)], f"linux-source-{series[0]}={version}"


def _unpack_driver(deb: Path, folder: Path) -> None:
    """Takes drivers/net/netdevsim out of the source's archive, and reads no further than needed."""
    folder.mkdir()
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as unpacking:
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as package:
            for file in package:
                if file.name.endswith(".tar.xz"):
                    archive = package.extractfile(file)
                    assert archive is not None
                    with tarfile.open(fileobj=archive, mode="r|xz") as tree:
                        _take(tree, folder)
                    break
        unpacking.kill()
    if not (folder / "netdev.c").exists():
        raise ImageError(f"{deb.name} has no netdevsim in it")


def _take(tree: tarfile.TarFile, folder: Path) -> None:
    found = False
    for file in tree:
        inside = "/drivers/net/netdevsim/" in file.name
        if inside and file.isfile():
            data = tree.extractfile(file)
            assert data is not None
            with (folder / Path(file.name).name).open("wb") as out:
                shutil.copyfileobj(data, out)
        if found and not inside:
            return
        found = inside


def _teach(folder: Path) -> None:
    """Has the driver take rules."""
    netdev = folder / "netdev.c"
    text = netdev.read_text()
    if text.count(CALL) != 1:
        raise ImageError("this kernel's netdevsim is not the one that this was written for")
    netdev.write_text(text.replace(CALL, ANSWER + CALL))
    (folder / "Makefile").unlink()
    objects = " ".join(f"{name}.o" for name in OBJECTS.split())
    (folder / "Kbuild").write_text(f"obj-m := netdevsim.o\nnetdevsim-y := {objects}\n")


if __name__ == "__main__":
    print(ensure_module())  # noqa: T201
