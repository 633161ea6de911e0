"""The same over the embedded API server: what is written passes the schema of ServerPool and survives there."""

from grpc import StatusCode

from tests.contract.autoscaler.rig import Rig, node


async def test_nodes_are_added_once_and_removed_as_asked(over_http: Rig) -> None:
    await over_http.fleet.pool("a", minimum=0)
    for host in ("h1", "h2"):
        await over_http.fleet.host(host)
    await over_http.refresh()
    for _ in range(2):
        assert await over_http.increase("a", 2) == (StatusCode.OK, "")
    first = await over_http.fleet.machine("a", "h1", "Running")
    second = await over_http.fleet.machine("a", "h2", "Creating", joined=False)
    await over_http.refresh()
    assert set(await over_http.instances("a")) == {f"dpupool://nodes/{first}", f"dpupool://nodes/{second}"}
    for _ in range(2):
        assert await over_http.delete("a", node(first)) == (StatusCode.OK, "")
    spec = await over_http.fleet.spec("a")
    assert spec["replicas"] == 1
    assert [(one["machine"], one["drain"]) for one in spec["removals"]] == [(first, False)]
    assert await over_http.target("a") == 1
    assert (await over_http.decrease("a", -1))[0] is StatusCode.FAILED_PRECONDITION
