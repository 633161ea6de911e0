"""Names of layers, and what a directory of them says."""

import pytest

from dpu_daemon.drivers.qsd.layers import LAST_NUMBER, Layer, families, frozen_by, layer_of, put_on_by
from dpu_daemon.model.volume import Snapshot


@pytest.mark.parametrize("layer", [Layer("v0123456789ab", 0), Layer("v1", 1), Layer("a" * 20, LAST_NUMBER)])
def test_a_layer_is_read_back_from_its_name_which_fits_a_node(layer: Layer) -> None:
    assert layer_of(layer.name) == layer
    assert len(f"{layer.name}.new") <= 31


@pytest.mark.parametrize("name", ["", "1v", "v.0", "v.01", "v.1.1", "v.new", "v.1.new", "i.image", "v" * 21])
def test_other_names_are_no_layers(name: str) -> None:
    assert layer_of(name) is None


def test_a_snapshot_freezes_one_layer_and_puts_the_next_on_it() -> None:
    snapshot = Snapshot(
        snapshot_id="s", volume_id="vol-1", handle="v1.3", volume_handle="v1", number=3, group="s", size_bytes=512
    )
    assert (frozen_by(snapshot), put_on_by(snapshot)) == (Layer("v1", 2), Layer("v1", 3))
    assert frozen_by(snapshot).snapshot_handle == snapshot.handle


def test_the_highest_layer_is_the_volume_unless_its_place_is_empty() -> None:
    layers = [Layer("v1", 0), Layer("v1", 4), Layer("v2", 1), Layer("v3", 0)]
    found = families(layers, [Layer("v2", 2), Layer("v9", 1)])
    assert (found["v1"].top, found["v1"].frozen) == (Layer("v1", 4), (Layer("v1", 0),))
    assert (found["v2"].top, found["v2"].frozen) == (None, (Layer("v2", 1),))
    assert found["v3"].top == Layer("v3", 0)
    assert "v9" not in found
