"""A lab as data: settings, layout, authority; nothing is started."""

from pathlib import Path

import pytest

from lab import programs, units
from lab.ca import Authority
from lab.programs import Parts
from lab.qemu import Qemu
from lab.settings import LabSettings, Layout


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """Two hosts, all folders made, passwords written."""
    layout = Layout("x", run_root=tmp_path / "run", state_root=tmp_path / "state")
    qemu = Qemu(
        Path("/q/system"), Path("/q/daemon"), Path("/q/img"), "10.0.2", {"QEMU_MODULE_DIR": "/q/m"}, (Path("/q"),)
    )
    made = Parts(LabSettings("x", 2), layout, Authority(layout.pki), qemu, kvm=False)
    for folder in units.folders(made):
        folder.mkdir(parents=True, exist_ok=True)
    for number in (1, 2):
        programs.bmc_password_file(layout, number).write_text(f"secret-{number}\n")
    return made
