"""Steps: each says in words what it does, and how long that may take."""

from dataclasses import replace

import pytest

from dpu_daemon.model.disk import Qos
from dpu_daemon.plan import steps
from dpu_daemon.plan.steps import Step
from tests.unit.dpu_daemon.things import DISK, EXPORTED, IMAGE, PORT, VOLUME


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (steps.PutUp(attachment=DISK), "connect d0123456789ab to its source and expose it"),
        (steps.SetLimits(handle="d1", qos=Qos(iops=1)), "set the limits of d1"),
        (steps.GrowDisk(handle="d1", size_bytes=512), "grow d1 to 512 bytes"),
        (steps.PlugDisk(attachment=DISK), "plug d0123456789ab in slot 0"),
        (steps.GrowFunction(attachment=DISK), "tell the host that slot 0 has 67108864 bytes"),
        (steps.UnplugDisk(slot=1, handle="d1"), "unplug d1 from slot 1"),
        (steps.Conceal(handle="d1"), "conceal d1 from the bus"),
        (steps.Disconnect(handle="d1"), "disconnect d1 from its source"),
        (steps.EnsureBridge(bridge="br"), "make bridge br"),
        (steps.AddPort(bridge="br", netdev="vf"), "add vf to br"),
        (steps.RemovePort(bridge="br", netdev="vf"), "remove vf from br"),
        (steps.SetLink(netdev="vf"), "set vf up"),
        (steps.SetLink(netdev="vf", mtu=1400), "set vf up with MTU 1400"),
        (steps.PlugNic(port=PORT), "plug NIC 0 for port port-1"),
        (steps.UnplugNic(vf=1, port_id="p"), "unplug NIC 1 of port p"),
        (steps.OpenImage(image=IMAGE), "open image tiny.qcow2"),
        (steps.CloseImage(image=IMAGE), "close image tiny.qcow2"),
        (steps.CreateVolume(volume=VOLUME, source=IMAGE), "create volume v0123456789ab, a clone of tiny.qcow2"),
        (steps.CreateVolume(volume=VOLUME, source=None), "create volume v0123456789ab, blank"),
        (steps.OpenVolume(volume=VOLUME, image=None), "open volume v0123456789ab"),
        (steps.ConfirmVolume(volume=VOLUME), "confirm volume v0123456789ab"),
        (steps.ResizeVolume(volume=VOLUME), "grow volume v0123456789ab to 67108864 bytes"),
        (steps.ExportVolume(volume=EXPORTED), "export volume v0123456789ab for generation 2"),
        (steps.ExportVolume(volume=VOLUME), "export volume v0123456789ab for generation 0"),
        (steps.UnexportVolume(volume=VOLUME), "cut off the export of volume v0123456789ab"),
        (steps.DeleteVolume(volume=VOLUME), "delete volume v0123456789ab"),
        (steps.DeleteVolume(volume=replace(VOLUME, shred=True)), "shred volume v0123456789ab"),
        (Step(), "Step"),
    ],
)
def test_a_step_says_what_it_does(step: Step, sentence: str) -> None:
    assert step.says() == sentence


def test_the_host_gets_longer_to_let_go_than_a_driver_gets_to_answer() -> None:
    unplug = steps.UnplugDisk(slot=0, handle="d1")
    assert unplug.deadline_s == steps.UnplugNic(vf=0, port_id="p").deadline_s > steps.UNPLUG_WAIT_S
    assert steps.Conceal(handle="d1").deadline_s < steps.PutUp(attachment=DISK).deadline_s


def test_shredding_takes_as_long_as_the_disk_needs() -> None:
    plain, shred = steps.DeleteVolume(volume=VOLUME), steps.DeleteVolume(volume=replace(VOLUME, shred=True))
    assert shred.deadline_s > 10 * plain.deadline_s
