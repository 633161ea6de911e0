"""A pod gets its second network, a virtual function that kubelet counted, from the real Multus."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from coordinator.core.objects.foreign import Foreign
from lab import multus
from tests.contract.cni.behind_dpu import VFS
from tests.contract.cni.daemon import built
from tests.contract.cni.node import pod_args
from tests.fakes.sysfs_vfs import FakeSysfs
from tests.real.multus_rig import SECONDARY, MultusRig, multus_rig

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


async def status_of(rig: MultusRig, pod: str) -> dict[str, dict[str, object]]:
    """The pod's network-status annotation, by interface."""
    found = await rig.kube.get(Foreign.POD, pod, "default")
    entries = json.loads(found["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"])
    return {entry["interface"]: entry for entry in entries}


def links(netns: str) -> dict[str, str]:
    """MACs by interface in a namespace."""
    shown = subprocess.run(["ip", "-n", netns, "-j", "link"], check=True, capture_output=True, text=True).stdout
    return {link["ifname"]: link["address"] for link in json.loads(shown) if link["ifname"] != "lo"}


async def test_a_delegates_call_brings_function_result_and_file(tmp_path: Path) -> None:
    """As Multus shapes the call, by hand, for machines without it; with CNI 1.1 the result names the function, too."""
    executable = await built(tmp_path / "bin" / "dpu-cni")
    async with multus_rig(executable, tmp_path) as rig:
        container = await rig.pod("web", 5)
        device = rig.kubelet.pods["default/web"][0]
        pod = await rig.kube.get(Foreign.POD, "web", "default")
        path = Path("/var/run/k8s.cni.cncf.io/devinfo/cni") / f"fast-{container}_net1"
        device_of = {"deviceID": device, "pciBusID": device}
        conf = SECONDARY | device_of | {"cniVersion": "1.1.0"}
        conf |= {"runtimeConfig": {"deviceID": device, "CNIDeviceInfoFile": str(path)}}
        arguments = {"CNI_IFNAME": "net1", "CNI_ARGS": pod_args("web", uid=pod["metadata"]["uid"])}
        said = await rig.node.call("ADD", container, config=conf, environment=arguments)
        assert said.status == 0, said.stdout
        (interface,) = json.loads(said.stdout)["interfaces"]
        assert interface["pciID"] == device
        assert interface["mac"] == "0a:58:0a:14:00:05"
        told = json.loads((rig.told / "cni" / path.name).read_text())
        assert told["pci"]["pci-address"] == device
        said = await rig.node.call("DEL", container, config=conf, environment=arguments)
        assert said.status == 0, said.stdout
        assert not (rig.told / "cni" / path.name).exists()


async def test_a_function_for_a_virtual_machine_is_plugged_and_nothing_is_moved(tmp_path: Path) -> None:
    """VFIO has it: the container gets files and an address to tell, its interface is the machine's to have."""
    executable = await built(tmp_path / "bin" / "dpu-cni")
    async with multus_rig(executable, tmp_path) as rig:
        rig.tree.bind(0, "vfio-pci", group=17)
        container = await rig.pod("vm", 7)
        device = rig.kubelet.pods["default/vm"][0]
        assert device == FakeSysfs.address(0)
        pod = await rig.kube.get(Foreign.POD, "vm", "default")
        conf = SECONDARY | {"cniVersion": "1.1.0", "runtimeConfig": {"deviceID": device}}
        arguments = {"CNI_IFNAME": "net1", "CNI_ARGS": pod_args("vm", uid=pod["metadata"]["uid"])}
        said = await rig.node.call("ADD", container, config=conf, environment=arguments)
        assert said.status == 0, said.stdout
        result = json.loads(said.stdout)
        (interface,) = result["interfaces"]
        assert (interface["pciID"], interface["mac"]) == (device, "0a:58:0a:14:00:07")
        assert await asyncio.to_thread(links, container) == {}
        assert rig.node.ovs.vsctl("list-ports", "br-int").split() == ["pf0vf0"]
        said = await rig.node.call("CHECK", container, config=conf | {"prevResult": result}, environment=arguments)
        assert said.status == 0, said.stdout
        said = await rig.node.call("DEL", container, config=conf, environment=arguments)
        assert said.status == 0, said.stdout
        assert rig.node.ovs.vsctl("list-ports", "br-int").split() == []


if multus.find() is not None:
    # Only where it was built (python -m lab.multus): that takes minutes, and the test above has the same call in it.

    async def test_multus_gives_a_pod_a_function_and_tells_of_it(tmp_path: Path) -> None:
        executable = await built(tmp_path / "bin" / "dpu-cni")
        async with multus_rig(executable, tmp_path) as rig:
            first, second = await rig.pod("web", 5), await rig.pod("db", 6)
            given = {pod: rig.kubelet.pods[f"default/{pod}"][0] for pod in ("web", "db")}
            assert set(given.values()) == {FakeSysfs.address(0), FakeSysfs.address(2)}

            for pod, container in (("web", first), ("db", second)):
                code, result = await rig.call("ADD", container, pod)
                assert code == 0, (result, (rig.folder / "multus.log").read_text()[-3000:])
            # The default network's functions were chosen by the daemon: kubelet may not count on them.
            await rig.kubelet.until(set(given.values()))

            status = await status_of(rig, "web")
            assert status["eth0"]["ips"] == ["10.16.0.5", "fd00:10::5"]
            assert status["eth0"]["default"] is True
            fast = status["net1"]
            assert fast["name"] == "default/fast"
            assert fast["mac"] == "0a:58:0a:14:00:05"
            assert fast["ips"] == ["10.16.0.105", "fd00:10::69"]
            assert fast["device-info"] == {"type": "pci", "version": "1.1.0", "pci": {"pci-address": given["web"]}}
            inside = await asyncio.to_thread(links, first)
            assert inside == {"eth0": "0a:58:0a:10:00:05", "net1": "0a:58:0a:14:00:05"}
            assert len(rig.node.ovs.vsctl("list-ports", "br-int").split()) == 4

            assert (await rig.call("DEL", first, "web"))[0] == 0
            assert await asyncio.to_thread(links, first) == {}
            back = await asyncio.to_thread(links, rig.node.host)
            number = next(vf for vf in range(VFS) if FakeSysfs.address(vf) == given["web"])
            assert back[f"vf{number}"] == f"02:00:00:00:00:{number:02x}"
            assert (await rig.call("DEL", first, "web"))[0] == 0
