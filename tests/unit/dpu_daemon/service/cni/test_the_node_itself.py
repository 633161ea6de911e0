"""No call of CNI can mean the node's own attachment, nor its network namespace."""

import pytest

from dpu_daemon.model.sandbox import NODE
from dpu_daemon.service.cni.environment import read_environment
from dpu_daemon.service.cni.faults import CniCode, CniError

CALL = {
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/c1",
    "CNI_IFNAME": "dpupool0",
    "CNI_ARGS": "K8S_POD_NAMESPACE=dpupool-system;K8S_POD_NAME=node-node-1",
    "CNI_PATH": "/opt/cni/bin",
}


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK"])
@pytest.mark.parametrize("variable", ["CNI_CONTAINERID", "CNI_NETNS"])
def test_its_name_is_refused(verb: str, variable: str) -> None:
    assert read_environment({**CALL, "CNI_COMMAND": verb}).interface == "dpupool0"
    with pytest.raises(CniError, match=variable) as caught:
        read_environment({**CALL, "CNI_COMMAND": verb, variable: NODE})
    assert caught.value.code is CniCode.BAD_ENVIRONMENT
