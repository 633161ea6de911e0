"""The guest's reader of cloud-init's YAML, run by the very awk that the guest has."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lab.image

SCRIPT = Path(lab.image.__file__).parent / "guest" / "flatten.awk"
pytestmark = pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox (make deps)")


def flatten(text: str) -> dict[str, str]:
    command = ["busybox", "awk", "-f", str(SCRIPT)]
    out = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=30).stdout
    pairs = (line.split("\t", 1) for line in out.splitlines())
    return {path: value.replace("\\n", "\n").replace("\\\\", "\\") for path, value in pairs}


def expected(value: Any, path: str = "") -> dict[str, str]:
    """What flattening a parsed document should give."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        found: dict[str, str] = {}
        for key, each in pairs:
            found |= expected(each, f"{path}/{key}" if path else str(key))
        return found
    return {path: "" if value is None else str(value)}


@pytest.mark.parametrize(
    ("text", "flat"),
    [
        ("hostname: bm-01  # name\n", {"hostname": "bm-01"}),
        ("runcmd:\n- ls\n- [sh, 'a, b']\n", {"runcmd/0": "ls", "runcmd/1/0": "sh", "runcmd/1/1": "a, b"}),
        ("a:\n  b: |\n    x\n      y\n\n  c: 1\n", {"a/b": "x\n  y\n", "a/c": "1"}),
        ("a: |-\n  x\n", {"a": "x"}),
        ("a: >\n  x\n  y\n", {"a": "x y\n"}),
        ("- - a\n  - b\n- c\n", {"0/0": "a", "0/1": "b", "1": "c"}),
        ("k: \"q\\\"\\n'\"\nl: 'it''s'\n", {"k": "q\"\n'", "l": "it's"}),
        ("'odd: key': v\n", {"odd: key": "v"}),
        ("# only a comment\n---\n", {}),
        ("url: http://a/b:c\n", {"url": "http://a/b:c"}),
    ],
)  # fmt: skip
def test_what_cloud_init_files_are_written_in(text: str, flat: dict[str, str]) -> None:
    assert flatten(text) == flat


def test_windows_line_ends_do_not_matter() -> None:
    assert flatten("a: 1\r\nb:\r\n- 2\r\n") == {"a": "1", "b/0": "2"}


# Each one a dictionary of its own: PyYAML writes a repeated one as an alias, which the guest does not read.
routes: st.SearchStrategy[dict[str, str]] = st.builds(dict, to=st.just("default"), via=st.just("10.77.0.1"))
network_configs = st.fixed_dictionaries(
    {
        "version": st.just(2),
        "ethernets": st.dictionaries(
            st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True),
            st.fixed_dictionaries(
                {
                    "match": st.builds(dict, macaddress=st.just("52:54:00:aa:00:01")),
                    "addresses": st.lists(st.sampled_from(["10.77.0.11/24", "fd00::1/64"]), min_size=1),
                    "mtu": st.integers(1280, 9000),
                    "routes": st.lists(routes, min_size=1, max_size=2),
                }
            ),
            min_size=1,
            max_size=3,
        ),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(network_configs, st.sampled_from(["block", "flow", "json"]))
def test_network_configuration_is_understood_however_it_is_written(config: dict[str, Any], style: str) -> None:
    texts = {
        "block": yaml.safe_dump(config, width=1000),
        "flow": yaml.safe_dump(config, default_flow_style=True, width=100_000),
        "json": json.dumps(config),
    }
    assert flatten(texts[style]) == expected(config)
