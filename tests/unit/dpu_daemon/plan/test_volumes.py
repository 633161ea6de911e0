"""Plans of images, volumes and exports."""

from dataclasses import replace

import pytest

from dpu_daemon.model.volume import Export, Volume, VolumeSeen
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import (
    CloseImage,
    ConfirmVolume,
    CreateVolume,
    DeleteVolume,
    ExportVolume,
    OpenImage,
    OpenVolume,
    ResizeVolume,
    Step,
    UnexportVolume,
)
from dpu_daemon.plan.volumes import NOTHING_BELOW, Below, plan_image, plan_volume
from tests.unit.dpu_daemon.things import (
    EXPORT,
    EXPORTED,
    EXPORTED_SEEN,
    IMAGE,
    MIB,
    VOLUME,
    VOLUME_SEEN,
    target_seen,
)

OVER_IMAGE = Below(image=IMAGE)


def kinds(plan: Plan) -> list[type[Step]]:
    return [type(step) for step in plan.steps]


def test_an_image_is_open_while_it_is_wanted() -> None:
    assert plan_image(IMAGE, target_seen()).settled
    assert kinds(plan_image(IMAGE, target_seen(image_open=False))) == [OpenImage]
    assert kinds(plan_image(replace(IMAGE, wanted=False), target_seen())) == [CloseImage]
    assert plan_image(replace(IMAGE, wanted=False), target_seen(image_open=False)).why == "image tiny.qcow2 is closed"


def test_a_new_clone_opens_its_image_first() -> None:
    plan = plan_volume(replace(VOLUME, created=False), OVER_IMAGE, target_seen(None, image_open=False))
    assert kinds(plan) == [OpenImage, CreateVolume, OpenVolume]


def test_a_blank_volume_needs_no_image() -> None:
    wanted: list[type[Step]] = [CreateVolume, OpenVolume]
    assert kinds(plan_volume(replace(VOLUME, created=False), NOTHING_BELOW, target_seen(None))) == wanted


def test_a_file_made_just_before_a_crash_is_confirmed_and_not_made_again() -> None:
    assert kinds(plan_volume(replace(VOLUME, created=False), OVER_IMAGE, target_seen())) == [ConfirmVolume]


def test_a_volume_that_is_right_is_not_touched() -> None:
    assert plan_volume(VOLUME, OVER_IMAGE, target_seen()).why == "volume v0123456789ab is there"
    assert plan_volume(EXPORTED, OVER_IMAGE, target_seen(EXPORTED_SEEN)).why == "volume v0123456789ab is exported"


@pytest.mark.parametrize("seen", [None, replace(VOLUME_SEEN, file_exists=False)])
def test_a_lost_file_is_never_made_anew(seen: VolumeSeen | None) -> None:
    plan = plan_volume(VOLUME, OVER_IMAGE, target_seen(seen))
    assert plan.hopeless
    assert not plan.settled
    assert plan.steps == ()
    assert plan.why == "volume v0123456789ab: its file is lost"


def test_a_grown_volume_is_resized() -> None:
    assert kinds(plan_volume(replace(VOLUME, size_bytes=128 * MIB), OVER_IMAGE, target_seen())) == [ResizeVolume]


def test_after_a_restart_of_the_storage_daemon_a_volume_is_opened_and_exported_again() -> None:
    seen = replace(VOLUME_SEEN, opened=False)
    assert kinds(plan_volume(EXPORTED, OVER_IMAGE, target_seen(seen, image_open=False))) == [
        OpenImage,
        OpenVolume,
        ExportVolume,
    ]


@pytest.mark.parametrize(
    ("want", "steps"),
    [
        (EXPORTED, []),
        (replace(EXPORTED, export=Export(generation=3, dpu="dpu-2")), [UnexportVolume, ExportVolume]),
        (replace(EXPORTED, export=Export(generation=2, dpu="dpu-1", read_only=True)), [UnexportVolume, ExportVolume]),
        (replace(EXPORTED, served=None), [UnexportVolume, ExportVolume]),
        (replace(EXPORTED, export=None), [UnexportVolume]),
    ],
)
def test_an_older_generation_is_cut_off_before_a_newer_one_is_let_in(want: Volume, steps: list[type[Step]]) -> None:
    assert kinds(plan_volume(want, OVER_IMAGE, target_seen(EXPORTED_SEEN))) == steps


def test_an_export_that_is_not_up_is_put_up() -> None:
    plan = plan_volume(replace(VOLUME, export=EXPORT), OVER_IMAGE, target_seen())
    assert kinds(plan) == [ExportVolume]
    assert plan.why == "volume v0123456789ab: not exported for generation 2"


@pytest.mark.parametrize(
    ("seen", "steps"),
    [
        (None, []),
        (replace(VOLUME_SEEN, file_exists=False, opened=False), []),
        (VOLUME_SEEN, [DeleteVolume]),
        (EXPORTED_SEEN, [UnexportVolume, DeleteVolume]),
        (replace(VOLUME_SEEN, file_exists=False), [DeleteVolume]),
    ],
)
def test_an_unwanted_volume_goes_with_its_export(seen: VolumeSeen | None, steps: list[type[Step]]) -> None:
    assert kinds(plan_volume(replace(VOLUME, wanted=False), OVER_IMAGE, target_seen(seen))) == steps
