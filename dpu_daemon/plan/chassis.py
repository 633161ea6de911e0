"""What every port stands on where ovn-controller rules the bridge."""

from collections.abc import Mapping

from dpu_daemon.model.port import SwitchSeen
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.pod_steps import SetBridge, SetChassis
from dpu_daemon.plan.steps import EnsureBridge, Step


def plan_chassis(
    bridge: str, datapath: str, mapped: tuple[str, ...], chassis: Mapping[str, str], seen: SwitchSeen
) -> Plan:
    """The integration bridge, secure; the bridges of physical networks; what ovn-controller is told.

    The bridge comes first: ovn-controller would make it with a datapath of its own choice.
    """
    steps: list[Step] = []
    faults: list[str] = []
    if bridge not in seen.bridges or bridge not in seen.secure or seen.datapaths.get(bridge) != datapath:
        faults.append(f"{bridge} missing, open or with another datapath")
        steps.append(SetBridge(bridge=bridge, datapath=datapath, secure=True))
    for each in mapped:
        if each not in seen.bridges:
            faults.append(f"{each} missing")
            steps.append(EnsureBridge(bridge=each))
    wrong = {key: value for key, value in chassis.items() if seen.chassis.get(key) != value}
    if wrong:
        faults.append(f"not told: {', '.join(sorted(wrong))}")
        steps.append(SetChassis(chassis=wrong))
    return Plan(tuple(steps), f"OVN chassis: {', '.join(faults)}") if steps else Plan.nothing("the chassis is set up")
