import pytest

from dpu_daemon.drivers.qsd.graph import INCOMPLETE, Node, exports_in, names_ending, nodes_in, source_of
from dpu_daemon.model.disk import SeedFile, TargetAddress


def _node(driver: str, filename: str) -> Node:
    return Node("d1.src", driver, filename, 4096, False)


@pytest.mark.parametrize("host", ["127.0.0.1", "fd00::1", "storage.example"])
def test_a_network_source_is_read_from_the_daemons_own_words(host: str) -> None:
    source = source_of(_node("nbd", f"nbd://{host}:10809/v0123-g7"))
    assert source == TargetAddress(transport="nbd+tcp", host=host, port=10809, export="v0123-g7")


def test_a_file_is_a_seed() -> None:
    assert source_of(_node("file", "/seeds/bm-01.iso")) == SeedFile(path="/seeds/bm-01.iso")


@pytest.mark.parametrize(
    ("driver", "filename"),
    [
        ("nbd", "nbd+unix:///x?socket=/y"),
        ("nbd", 'json:{"driver": "nbd"}'),
        ("null-co", "null-co://"),
        ("nbd", "nbd://h/e"),
    ],
)
def test_a_source_that_this_driver_never_makes_is_nobodys(driver: str, filename: str) -> None:
    assert source_of(_node(driver, filename)) == INCOMPLETE


def test_answers_are_read_and_further_members_ignored() -> None:
    node = {
        "node-name": "d1.top",
        "drv": "throttle",
        "ro": True,
        "image": {"virtual-size": 1 << 41, "filename": "json:{}", "format": "throttle"},
        "cache": {},
    }
    assert nodes_in([node]) == {"d1.top": Node("d1.top", "throttle", "json:{}", 1 << 41, True)}
    export = {"id": "d1", "type": "nbd", "node-name": "d1.top", "shutting-down": True}
    assert exports_in([export])["d1"].closing


def test_names_are_told_by_their_ending() -> None:
    assert names_ending(".src", ["d1.src", "d2.src", "d1.top", ".src", "#block12"]) == {"d1", "d2"}
