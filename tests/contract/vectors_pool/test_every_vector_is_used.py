"""A wrong directory, or a file that no test reads, must not pass for equality."""

import json
from fnmatch import fnmatch

from tests.contract.vectors_pool.cases import directory

SECTIONS = {
    "ca_binpacking_estimator*.json": {"cases", "fastpath_choice_cases"},
    "ca_drainability*.json": {"rule_cases", "node_cases", "chain_cases"},
    "ca_estimator_traces*.json": {"cases"},
    "ca_expanders*.json": {"least_waste", "most_pods", "least_nodes", "chain"},
    "ca_removal_simulation*.json": {"cases"},
}


def test_the_directory_holds_vectors() -> None:
    assert list(directory().glob("ca_*.json")), f"no ca_*.json in {directory()}"


def test_every_section_of_every_file_is_read() -> None:
    for path in directory().glob("ca_*.json"):
        read = set().union(*(sections for pattern, sections in SECTIONS.items() if fnmatch(path.name, pattern)))
        held = {name for name, value in json.loads(path.read_text()).items() if isinstance(value, list)}
        assert held <= read, f"{path.name}: nobody reads {sorted(held - read)}"
