"""Who gets in, and how far: tokens, certificates, roles, headers that are not believed."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from coordinator.api.rules import PolicyError, read_policy
from coordinator.api.users import TokenFileError, parse_tokens, read_tokens
from tests.fakes.api import (
    COORDINATOR_TOKEN,
    NOBODY_TOKEN,
    VIEWER_TOKEN,
    Pki,
    RunningApi,
    running_api,
)

HOSTS = "/apis/dpupool.io/v1alpha1/baremetalhosts"
SECRETS = "/api/v1/namespaces/default/secrets"
POLICY = """
bindings:
- users: [painter]
  rules:
  - {verbs: [get, patch], apiGroups: [dpupool.io], resources: [volumes], namespaces: [default], resourceNames: [canvas]}
  - {verbs: [get], apiGroups: [subresources.dpupool.io], resources: ['*/console']}
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    directory = tmp_path_factory.mktemp("access")
    policy = directory / "policy.yaml"
    policy.write_text(POLICY)
    with running_api(directory, bindings=read_policy(policy), tokens=["painter-token,painter,9"]) as found:
        yield found


def by_certificate(api: RunningApi, name: str, *groups: str, pki: Pki | None = None) -> httpx.Client:
    """A client that shows a certificate of the server's CA, or of another."""
    assert api.pki is not None
    context = ssl.create_default_context(cafile=str(api.pki.ca_file))
    certificate, key = (pki or api.pki).issue(name, groups)
    context.load_cert_chain(certificate, key)
    return httpx.Client(base_url=api.url, verify=context, trust_env=False)


def test_a_stranger_is_told_to_say_who_it_is(api: RunningApi) -> None:
    with api.client(token="") as http:
        answer = http.get(HOSTS)
        assert answer.status_code == 401
        assert answer.json()["reason"] == "Unauthorized"
        assert "WWW-Authenticate" in answer.headers
        assert http.get("/apis").status_code == 401
        assert http.get("/healthz").status_code == 200
        assert http.get("/version").status_code == 200


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic YWRtaW46YWRtaW4=", "nonsense"])
def test_a_wrong_credential_is_refused_even_where_none_is_needed(api: RunningApi, header: str) -> None:
    with api.client(token="") as http:
        assert http.get("/version", headers={"Authorization": header}).status_code == 401


def test_a_known_user_without_a_role_may_look_around_only(api: RunningApi) -> None:
    with api.client(NOBODY_TOKEN) as http:
        assert http.get("/apis/dpupool.io/v1alpha1").status_code == 200
        answer = http.get(f"{HOSTS}/h1")
        assert answer.status_code == 403
        assert answer.json()["message"] == (
            'baremetalhosts.dpupool.io "h1" is forbidden: User "nobody" cannot get resource "baremetalhosts" '
            'in API group "dpupool.io" at the cluster scope'
        )
        assert http.get("/metrics").json()["message"] == 'forbidden: User "nobody" cannot get path "/metrics"'


def test_a_viewer_reads_all_but_secrets(api: RunningApi) -> None:
    with api.client(VIEWER_TOKEN) as http:
        assert http.get(HOSTS).status_code == 200
        assert http.get("/api/v1/events").status_code == 200
        assert http.get(SECRETS).status_code == 403
        assert http.get(SECRETS, params={"watch": "true"}).status_code == 403
        assert http.post(HOSTS, json={}).status_code == 403
        assert http.request("DELETE", HOSTS).status_code == 403
        answer = http.post(SECRETS, json={"metadata": {"name": "x"}})
        assert 'in the namespace "default"' in answer.json()["message"]


@pytest.mark.parametrize(
    ("resource", "subresource", "allowed"),
    [
        ("dpus", "offload", True),
        ("networknodes", "offload", True),
        ("volumeattachments", "stats", True),
        ("baremetalmachines", "console", False),
    ],
)
def test_a_viewer_sees_what_switches_and_disks_do_and_opens_no_console(
    api: RunningApi, resource: str, subresource: str, allowed: bool
) -> None:
    asked = {"verb": "get", "group": "subresources.dpupool.io", "resource": resource, "subresource": subresource}
    with api.client(VIEWER_TOKEN) as http:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = http.post(path, json={"spec": {"resourceAttributes": asked}})
        assert answer.json()["status"]["allowed"] is allowed


def test_the_coordinator_does_all_of_ours_and_defines_no_kinds(api: RunningApi) -> None:
    with api.client(COORDINATOR_TOKEN) as http:
        body = {"metadata": {"name": "s"}, "stringData": {"a": "b"}}
        assert http.post(SECRETS, json=body).status_code == 201
        assert http.delete(f"{SECRETS}/s").status_code == 200
        assert http.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions").status_code == 200
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/volumes.dpupool.io"
        assert http.delete(path).status_code == 403
        lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "c"}}
        assert http.post("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", json=lease).status_code == 201


def test_a_certificate_tells_name_and_groups(api: RunningApi) -> None:
    with by_certificate(api, "coordinator-1", "dpupool:coordinator") as http:
        assert http.get(HOSTS).status_code == 200
    with by_certificate(api, "root", "system:masters") as http:
        review = http.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={}).json()
        info = review["status"]["userInfo"]
        assert info == {"username": "root", "groups": ["system:masters", "system:authenticated"]}


@pytest.mark.parametrize("role", ["dpupool:dpu", "dpupool:storage", "dpupool:host"])
def test_certificates_of_other_roles_change_nothing_here(api: RunningApi, role: str) -> None:
    with by_certificate(api, "dpu-1", role) as http:
        assert http.get(HOSTS).status_code == 403
        assert http.get(SECRETS).status_code == 403


def test_a_certificate_of_another_authority_is_refused(api: RunningApi, tmp_path: Path) -> None:
    forger = Pki.create(tmp_path, "forger")
    with by_certificate(api, "root", "system:masters", pki=forger) as http, pytest.raises(httpx.TransportError):
        http.get(HOSTS)


def test_headers_of_a_front_proxy_are_not_believed(api: RunningApi) -> None:
    headers = {"X-Remote-User": "root", "X-Remote-Group": "system:masters"}
    with api.client(NOBODY_TOKEN) as http:
        assert http.get(HOSTS, headers=headers).status_code == 403
    with api.client(token="") as http:
        assert http.get(HOSTS, headers=headers).status_code == 401


def test_only_those_who_may_are_taken_for_somebody_else(api: RunningApi) -> None:
    headers = {"Impersonate-User": "eve", "Impersonate-Group": "dpupool:viewer"}
    with api.client() as http:
        assert http.get(HOSTS, headers=headers).status_code == 200
        assert http.get(SECRETS, headers=headers).status_code == 403
    with api.client(VIEWER_TOKEN) as http:
        answer = http.get(HOSTS, headers={"Impersonate-User": "admin", "Impersonate-Group": "system:masters"})
        assert answer.status_code == 403
        assert "cannot impersonate" in answer.json()["message"]


def test_a_policy_gives_exactly_what_it_says(api: RunningApi) -> None:
    volumes = "/apis/dpupool.io/v1alpha1/namespaces/default/volumes"
    with api.client("painter-token") as http:
        assert http.get(f"{volumes}/canvas").status_code == 404
        assert http.get(f"{volumes}/other").status_code == 403
        assert http.get(volumes).status_code == 403
        assert http.delete(f"{volumes}/canvas").status_code == 403
        assert http.get(f"{volumes.replace('default', 'kube-system')}/canvas").status_code == 403
        assert http.get(f"{volumes}/canvas/status").status_code == 403


def test_reviews_answer_from_the_same_rules(api: RunningApi) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    with api.client("painter-token") as http:
        for name, allowed in (("canvas", True), ("other", False)):
            attributes = {
                "verb": "patch",
                "group": "dpupool.io",
                "resource": "volumes",
                "namespace": "default",
                "name": name,
            }
            status = http.post(path, json={"spec": {"resourceAttributes": attributes}}).json()["status"]
            assert status["allowed"] is allowed
            assert allowed or "cannot patch" in status["reason"]
        console = {
            "verb": "get",
            "group": "subresources.dpupool.io",
            "resource": "baremetalmachines",
            "subresource": "console",
        }
        assert http.post(path, json={"spec": {"resourceAttributes": console}}).json()["status"]["allowed"] is True
        assert http.post(path, json={"spec": {}}).status_code == 400
    with api.client() as http:
        body = {
            "spec": {
                "user": "eve",
                "groups": ["dpupool:viewer"],
                "resourceAttributes": {"verb": "get", "resource": "pods"},
            }
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        assert http.post(path, json=body).json()["status"]["allowed"] is True
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        told = http.post(path, json={"spec": {"token": VIEWER_TOKEN}})
        assert told.json()["status"]["user"]["username"] == "viewer"
        assert VIEWER_TOKEN not in told.text
        assert http.post(path, json={"spec": {"token": "x"}}).json()["status"]["authenticated"] is False


def test_a_token_file_is_read_as_kubernetes_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text('# comment\nabc,alice,1,"dev,ops"\n\ndef,bob,2\n')
    found = read_tokens(path)
    assert found["abc"].groups == ("dev", "ops", "system:authenticated")
    assert found["def"].name == "bob"


@pytest.mark.parametrize("line", ["abc,alice", ",alice,1", "abc,,1"])
def test_a_malformed_token_line_is_named_without_its_token(line: str) -> None:
    with pytest.raises(TokenFileError, match=r"tokens.csv:2: a line is token,user,uid") as refused:
        parse_tokens(["x,y,1", line], "tokens.csv")
    assert "abc" not in str(refused.value)


def test_a_token_given_twice_is_refused() -> None:
    with pytest.raises(TokenFileError, match="used again for bob"):
        parse_tokens(["abc,alice,1", "abc,bob,2"], "tokens.csv")


@pytest.mark.parametrize("text", ["rules: []", "bindings: [{roles: []}]", "bindings: 5", ": :"])
def test_a_policy_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError, match="policy"):
        read_policy(path)
    with pytest.raises(PolicyError, match="cannot be read"):
        read_policy(tmp_path / "missing.yaml")
