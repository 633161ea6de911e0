"""Wrong settings end the program with the status after which systemd does not try again."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from csi_plugin.main import EXIT_CONFIG, main


@pytest.mark.parametrize("text", ["nam = 1", 'endpoint = "tcp://1.2.3.4:5"'])
def test_wrong_settings_end_it_for_good(tmp_path: Path, text: str) -> None:
    file = tmp_path / "csi.toml"
    file.write_text(text)
    ended = CliRunner().invoke(main, ["--config", str(file)], env={"CSI_ENDPOINT": ""})
    assert ended.exit_code == EXIT_CONFIG
    assert f"dpu-csi: {'endpoint: ' if 'tcp' in text else ''}{file}" in ended.stderr
