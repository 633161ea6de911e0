"""Errors echo the version that was asked for, whatever the configuration is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_plugin.codes import TRY_LATER, CniError
from cni_plugin.local import ABOUT, NEWEST, SUPPORTED, asked_version, error, version


@pytest.mark.parametrize("asked", [*SUPPORTED, "9.9.9"])
def test_the_version_of_the_configuration_is_echoed(asked: str) -> None:
    config = json.dumps({"cniVersion": asked}).encode()
    assert json.loads(version(config))["cniVersion"] == asked
    assert json.loads(error(CniError(TRY_LATER, "m", "d"), config)) == {
        "cniVersion": asked,
        "code": 11,
        "msg": "m",
        "details": "d",
    }


@pytest.mark.parametrize(
    "config", [b"", b"{}", b"null", b'"x"', b'{"cniVersion": 1}', b'{"cniVersion": ""}', b"\xff", b"[" * 100_000]
)
def test_without_a_readable_version_ours_is_said(config: bytes) -> None:
    assert asked_version(config) == NEWEST


@given(config=st.binary(max_size=60), message=st.text(max_size=30))
def test_an_error_is_always_one_line_of_ascii_json(config: bytes, message: str) -> None:
    line = error(CniError(TRY_LATER, message, "d"), config)
    assert line.isascii()
    assert b"\n" not in line
    assert json.loads(line)["msg"] == message


def test_the_about_line_names_the_versions_that_are_supported() -> None:
    assert all(name.encode() in ABOUT for name in SUPPORTED)
    assert SUPPORTED[-1] == NEWEST
