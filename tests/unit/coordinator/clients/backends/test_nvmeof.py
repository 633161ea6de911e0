"""Targets provisioned elsewhere: claims and checks that end."""

import pytest

from coordinator.clients.backends.nvmeof import NvmeOfBackend
from coordinator.clients.backends.settings import Namespace, NvmeOf
from coordinator.clients.storage import ExportWish, TargetPath, VolumeWish
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.nvme_target import nvme_tcp_target

MIB = 1 << 20


def backend(port: int, **more: object) -> NvmeOfBackend:
    listed = tuple(
        Namespace(
            name=name,
            address=f"127.0.0.1:{port}",
            nqn=f"nqn.{name}",
            size="64Mi",
            nsid=2,
            paths=("192.0.2.9:4420",),
        )
        for name in ("a", "b")
    )
    return NvmeOfBackend("array", NvmeOf(namespaces=listed, **more))  # type: ignore[arg-type]


def wish(name: str, volume: str = "v", **more: object) -> VolumeWish:
    settings: dict[str, object] = {"size_bytes": 64 * MIB, "parameters": {"namespace": name}} | more
    return VolumeWish(volume_id=volume, **settings)  # type: ignore[arg-type]


async def refused(awaitable: object) -> DpuError:
    with pytest.raises(DpuError) as told:
        await awaitable  # type: ignore[misc]
    return told.value


async def test_a_claim_has_the_size_and_the_paths_of_the_list() -> None:
    async with nvme_tcp_target() as port:
        array = backend(port)
        made = await array.create_volume(wish("a", size_bytes=MIB))
        assert (made.volume_id, made.size_bytes) == ("a", 64 * MIB)
        address = await array.export_volume(ExportWish(volume="a", dpu="dpu-1", generation=1, credentials="c"))
    assert (address.export, address.nsid, address.credentials) == ("nqn.a", 2, "c")
    assert address.paths == (TargetPath(host="192.0.2.9", port=4420),)


async def test_what_another_volume_has_or_was_just_promised_is_not_given() -> None:
    async with nvme_tcp_target() as port:
        array = backend(port)
        error = await refused(array.create_volume(wish("a", taken=frozenset({"a"}))))
        assert (error.reason, error.remedy) == (Reason.IN_USE, "name one of b")
        await array.create_volume(wish("b"))
        assert (await refused(array.create_volume(wish("b", "other")))).reason is Reason.IN_USE


@pytest.mark.parametrize(("name", "says"), [("", "must be told a namespace"), ("c", "has no namespace 'c'")])
async def test_a_claim_on_nothing_is_told_what_there_is(name: str, says: str) -> None:
    error = await refused(backend(1).create_volume(wish(name)))
    assert says in error.message
    assert (error.field, error.remedy) == ("spec.parameters.namespace", "name one of a, b")


async def test_more_than_there_is_is_refused() -> None:
    error = await refused(backend(1).create_volume(wish("a", size_bytes=65 * MIB)))
    assert (error.field, error.remedy) == ("spec.size", "write 64Mi or less")


async def test_a_target_that_does_not_listen_is_told_and_asked_again() -> None:
    async with nvme_tcp_target() as port:
        pass
    error = await refused(backend(port).create_volume(wish("a")))
    assert (error.reason, error.retry) == (Reason.UNAVAILABLE, True)
    assert f"127.0.0.1:{port}" in error.message


async def test_a_target_that_is_none_is_told() -> None:
    async with nvme_tcp_target(kind=7) as port:
        error = await refused(backend(port).create_volume(wish("a")))
    assert "no NVMe/TCP target" in error.message


async def test_a_target_that_is_silent_is_not_waited_for_for_ever() -> None:
    async with nvme_tcp_target(kind=0) as port:
        error = await refused(backend(port, reach_s=0.05).create_volume(wish("a")))
    assert "no answer in 0.05 s" in error.message
