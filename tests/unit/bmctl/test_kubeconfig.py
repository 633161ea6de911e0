import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bmctl import invocation
from bmctl.invocation import Invocation
from bmctl.kubeconfig import connect, load
from bmctl.main import bmctl
from proto.errors import DpuError
from proto.reasons import Reason


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def a_config(
    server: str = "https://10.0.0.1:6443", user: dict[str, Any] | None = None, **cluster: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "ada", "user": user or {}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "ada", "namespace": "team"}}],
    }


def written(folder: Path, config: Any, name: str = "config") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(config))
    return path


def refused(folder: Path, config: Any, context: str | None = None) -> DpuError:
    with pytest.raises(DpuError) as caught:
        connect(load((written(folder, config),)), context)
    assert caught.value.remedy
    return caught.value


def test_a_context_gives_server_namespace_and_credentials(tmp_path: Path) -> None:
    user = {"client-certificate-data": b64("cert"), "client-key-data": b64("key"), "token": "t"}
    config = a_config(user=user, **{"certificate-authority-data": b64("ca"), "tls-server-name": "api"})
    found = connect(load((written(tmp_path, config),)))
    assert (found.server, found.namespace, found.token, found.server_name) == (
        "https://10.0.0.1:6443", "team", "t", "api",
    )  # fmt: skip
    assert (found.ca_pem, found.certificate_pem, found.key_pem) == (b"ca", b"cert", b"key")


def test_files_are_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("ca")
    (tmp_path / "token").write_text("secret\n")
    config = a_config(user={"tokenFile": "token"}, **{"certificate-authority": "ca.crt"})
    found = connect(load((written(tmp_path, config),)))
    assert (found.ca_pem, found.token) == (b"ca", "secret")


def test_of_several_files_the_first_to_name_a_thing_wins(tmp_path: Path) -> None:
    first = written(tmp_path, a_config("https://first"), "first")
    second = written(tmp_path, a_config("https://second") | {"current-context": "other"}, "second")
    assert connect(load((tmp_path / "absent", first, second))).server == "https://first"


def test_the_environment_names_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/a:{tmp_path}/b")
    assert Invocation().kubeconfig_files() == (tmp_path / "a", tmp_path / "b")
    assert Invocation(kubeconfig=tmp_path / "c").kubeconfig_files() == (tmp_path / "c",)
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(invocation, "LAB_KUBECONFIG", tmp_path / "no-lab")
    assert Invocation().kubeconfig_files() == (tmp_path / ".kube" / "config",)


def test_the_labs_kubeconfig_is_used_when_there_is_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab"
    monkeypatch.setattr(invocation, "LAB_KUBECONFIG", lab)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Invocation().kubeconfig_files() == (tmp_path / ".kube" / "config",)
    lab.touch()
    assert Invocation().kubeconfig_files() == (lab,)
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").touch()
    assert Invocation().kubeconfig_files() == (tmp_path / ".kube" / "config",)


def test_no_kubeconfig_says_where_one_comes_from(tmp_path: Path) -> None:
    with pytest.raises(DpuError) as caught:
        load((tmp_path / "absent",))
    assert caught.value.reason is Reason.NOT_FOUND
    assert "bmctl lab up" in caught.value.remedy


def test_a_context_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    assert "lab" in refused(tmp_path, a_config(), "prod").remedy


def test_a_token_is_not_sent_over_plain_http(tmp_path: Path) -> None:
    assert "plain HTTP" in refused(tmp_path, a_config("http://10.0.0.1", {"token": "t"})).message


def test_a_login_plug_in_is_refused_clearly(tmp_path: Path) -> None:
    error = refused(tmp_path, a_config(user={"exec": {"command": "aws"}}))
    assert (error.reason, error.field) == (Reason.UNSUPPORTED, "users[].user.exec")


@pytest.mark.parametrize(
    "config",
    [
        ["a", "list"],
        {"clusters": "none"},
        a_config(server=""),
        a_config(user=None, **{"certificate-authority-data": "%%%"}),
        a_config(user=None, **{"certificate-authority": "absent.crt"}),
        a_config() | {"users": []},
        a_config() | {"current-context": ""},
    ],
    ids=["no object", "wrong type", "no server", "bad base64", "no file", "no user", "no context"],
)
def test_a_broken_kubeconfig_is_refused_with_the_field(tmp_path: Path, config: Any) -> None:
    error = refused(tmp_path, config)
    assert error.reason is Reason.INVALID
    assert error.field


def run(*arguments: str, home: Path) -> str:
    result = CliRunner().invoke(bmctl, arguments, env={"HOME": str(home), "KUBECONFIG": ""}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_connection_in_use_is_printed_whole(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("ca")
    source = written(tmp_path, a_config(user={"token": "t"}, **{"certificate-authority": "ca.crt"}), "lab.yaml")
    alone = yaml.safe_load(run("--kubeconfig", str(source), "kubeconfig", home=tmp_path))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    assert connect(load((written(moved, alone),))).ca_pem == b"ca"


def test_merging_keeps_other_entries_and_makes_ours_current(tmp_path: Path) -> None:
    target = tmp_path / ".kube" / "config"
    target.parent.mkdir()
    target.write_text(yaml.safe_dump(a_config("https://prod") | {"preferences": {"colors": True}}))
    source = written(tmp_path, a_config("https://lab"), "lab.yaml")
    run("--kubeconfig", str(source), "kubeconfig", "--merge", home=tmp_path)
    run("--kubeconfig", str(source), "kubeconfig", "--merge", home=tmp_path)
    merged = yaml.safe_load(target.read_text())
    assert [one["name"] for one in merged["contexts"]] == ["lab", "dpupool"]
    assert merged["preferences"] == {"colors": True}
    assert connect(load((target,))).server == "https://lab"
    assert target.stat().st_mode & 0o077 == 0


def test_a_file_that_cannot_be_merged_into_is_left_alone(tmp_path: Path) -> None:
    source = written(tmp_path, a_config(), "lab.yaml")
    target = tmp_path / "broken"
    target.write_text("a: [")
    arguments = ("--kubeconfig", str(source), "kubeconfig", "--merge", "--into", str(target))
    assert CliRunner().invoke(bmctl, arguments).exit_code == 8
    assert target.read_text() == "a: ["
