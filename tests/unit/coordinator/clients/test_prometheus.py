import httpx2 as httpx
import pytest

from coordinator.clients.prometheus import Prometheus
from proto.errors import DpuError
from proto.reasons import Reason


def server(code: int, text: str) -> Prometheus:
    return Prometheus("http://prometheus:9090/", httpx.MockTransport(lambda _request: httpx.Response(code, text=text)))


async def test_a_vector_becomes_points_and_values_that_are_none_are_left_out() -> None:
    text = (
        '{"status":"success","data":{"resultType":"vector","result":['
        '{"metric":{"pod":"web"},"value":[5.5,"0.25"]},{"metric":{"pod":"odd"},"value":[5.5,"NaN"]}]}}'
    )
    client = server(200, text)
    (point,) = await client.query("up")
    await client.close()
    assert (point.labels, point.at, point.value) == ({"pod": "web"}, 5.5, 0.25)


@pytest.mark.parametrize(
    ("code", "text", "says"),
    [
        (400, '{"status":"error","errorType":"bad_data","error":"parse error"}', "parse error"),
        (200, '{"status":"success","data":{"resultType":"matrix","result":[]}}', "matrix"),
        (502, "<html>", "502"),
    ],
)
async def test_what_is_no_vector_is_refused_with_its_reason(code: int, text: str, says: str) -> None:
    client = server(code, text)
    with pytest.raises(DpuError, match=says) as refused:
        await client.query("up")
    await client.close()
    assert refused.value.reason is Reason.INVALID
