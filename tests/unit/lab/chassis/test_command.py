import json
from collections.abc import Callable
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lab.chassis.command import Boot, boot_index, cd_index, command_line
from lab.chassis.config import ChassisConfig, Firmware
from lab.chassis.record import BootTarget
from lab.chassis.slots import DiskProtocol, DiskSpec, Function, NicSpec, device_name

MakeDisk = Callable[..., DiskSpec]
NIC = NicSpec(0, "vf0", "pf0vf0", "52:54:00:00:00:01", 1400)


def options(words: list[str], name: str) -> list[str]:
    return [value for option, value in pairwise(words) if option == f"-{name}"]


def devices(words: list[str]) -> dict[str, dict[str, object]]:
    made = [json.loads(value) for value in options(words, "device")]
    return {device["id"]: device for device in made if "id" in device}


def test_every_slot_has_a_root_port_of_its_own(config: ChassisConfig) -> None:
    ports = [d for d in devices(command_line(config, Boot())).values() if d["driver"] == "pcie-root-port"]
    assert len(ports) == 12
    assert len({port["addr"] for port in ports}) == 12
    assert len({port["chassis"] for port in ports}) == 12


def test_a_disk_sits_on_its_port_with_its_serial_and_reconnects(config: ChassisConfig, disk: MakeDisk) -> None:
    spec = disk(3, boot_order=1)
    words = command_line(config, Boot((Function.of(spec),)))
    device = devices(words)[device_name(spec)]
    assert (device["driver"], device["bus"], device["serial"]) == ("virtio-blk-pci", "port-disk3", "S3")
    (node,) = [json.loads(value) for value in options(words, "blockdev")]
    assert node["reconnect-delay"] == 60
    assert node["server"]["path"] == spec.nbd_path


def test_an_nvme_disk_is_an_nvme_controller(config: ChassisConfig, disk: MakeDisk) -> None:
    spec = disk(protocol=DiskProtocol.NVME)
    assert devices(command_line(config, Boot((Function.of(spec),))))[device_name(spec)]["driver"] == "nvme"


def test_a_nic_has_no_offloads_and_boots_only_when_asked(config: ChassisConfig) -> None:
    plain = devices(command_line(config, Boot((Function.of(NIC),))))[device_name(NIC)]
    assert plain["csum"] is False
    assert plain["host_mtu"] == 1400
    assert plain["romfile"] == ""
    assert "bootindex" not in plain
    network = devices(command_line(config, Boot((Function.of(NIC),), BootTarget.PXE)))[device_name(NIC)]
    assert network["bootindex"] == 1
    assert "romfile" not in network


@given(
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 100)), unique_by=lambda pair: pair[0]),
    st.sampled_from(BootTarget),
)
def test_no_two_functions_ever_share_a_boot_index(places: list[tuple[int, int]], target: BootTarget) -> None:
    disks = [DiskSpec(slot, "f", DiskProtocol.NVME, "/n", "e", "s", boot_order=order) for slot, order in places]
    nics = [NicSpec(slot, "f", "t", "m") for slot in range(4)]
    indexes = [
        *(boot_index(disk, target) for disk in disks),
        *(boot_index(nic, target) for nic in nics),
        cd_index(target),
    ]
    taken = [index for index in indexes if index is not None]
    assert len(taken) == len(set(taken))
    # a function hot-plugged in normal order must not meet an index of an overridden boot either
    later = [boot_index(spec, BootTarget.NONE) for spec in disks]
    assert not {i for i in later if i is not None} & {boot_index(nic, target) for nic in nics}


def test_disks_boot_in_their_order_and_the_cd_comes_last_unless_asked_for(disk: MakeDisk) -> None:
    first, second = disk(5, boot_order=1), disk(0, boot_order=2)
    order = [boot_index(first, BootTarget.NONE), boot_index(second, BootTarget.NONE), cd_index(BootTarget.NONE)]
    assert order == sorted(order, key=lambda index: index or 0)
    assert boot_index(disk(boot_order=0), BootTarget.NONE) is None
    assert (cd_index(BootTarget.CD) or 0) < (boot_index(first, BootTarget.CD) or 0)
    assert cd_index(BootTarget.HDD) is None


def test_media_is_a_read_only_medium_in_the_drive(config: ChassisConfig) -> None:
    words = command_line(config, Boot(media="/images/x.iso"))
    assert devices(words)["cd0"]["drive"] == "cd-media"
    (node,) = [json.loads(value) for value in options(words, "blockdev")]
    assert node["read-only"] is True
    assert node["file"] == {"driver": "file", "filename": "/images/x.iso"}
    (remote,) = [json.loads(v) for v in options(command_line(config, Boot(media="http://a/x.iso")), "blockdev")]
    assert remote["file"] == {"driver": "http", "url": "http://a/x.iso"}


def test_ovmf_gets_its_code_read_only_and_variables_of_this_host(config: ChassisConfig) -> None:
    settings = msgspec.structs.replace(config, qemu=msgspec.structs.replace(config.qemu, firmware=Firmware.OVMF))
    flashes = options(command_line(settings, Boot()), "drive")
    assert "readonly=on" in flashes[0]
    assert str(settings.run_path) in flashes[1]


def test_commas_in_the_model_do_not_end_its_value(config: ChassisConfig) -> None:
    host = msgspec.structs.replace(config.host, model="Big, fast")
    (smbios,) = options(command_line(msgspec.structs.replace(config, host=host), Boot()), "smbios")
    assert "product=Big,, fast," in smbios
