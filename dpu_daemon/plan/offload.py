"""Decides where each flow is forwarded and why, and what that makes of each port and of the switch; pure.

Which flows OVS hands to hardware is OVS's own rule. Source: Open vSwitch 3.1, lib/netdev-offload-tc.c
(netdev_tc_flow_put), lib/dpif-netlink.c (parse_flow_put), lib/dpif-netdev.c (queue_netdev_flow_put).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from dpu_daemon.model.offload import (
    Feature,
    FlowSeen,
    Judged,
    Layer,
    Mark,
    OffloadReport,
    OffloadSeen,
    PortReport,
    PortSeen,
    Sums,
    Verdict,
    Way,
    Why,
)
from dpu_daemon.plan.offload_words import about_port, about_switch, advice, why_words

DPDK = "dpdk"
INTERNAL = frozenset({"internal", "tap"})
SYSTEM = frozenset({"", "system"})
DUMMY = frozenset({"dummy", "dummy-pmd"})


def decide(seen: OffloadSeen) -> OffloadReport:
    """What a look means."""
    way = way_of(seen)
    ports = {port.netdev: port for port in seen.ports}
    judged = tuple(judge(flow, ports.get(flow.in_port), seen, way) for flow in seen.flows)
    sums = Sums()
    entering: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        sums.add(one)
        entering[one.flow.in_port].append(one)
    known = [*seen.ports, *(_stranger(name) for name in sorted(entering.keys() - ports.keys()) if name)]
    reports = tuple(_port(port, entering.get(port.netdev, []), seen, way) for port in known if _shown(port, entering))
    restart = seen.in_effect is not None and bool(seen.datapath) and seen.in_effect != seen.enabled
    restart = restart and bool(seen.ports) and way is not Way.NONE
    return OffloadReport(
        enabled=seen.enabled,
        restart_needed=restart,
        datapath=seen.datapath,
        way=way,
        abilities=_abilities(seen, reports),
        sums=sums,
        ports=reports,
        flows=judged,
        sentence=about_switch(seen, way, sums, _most(judged), restart=restart),
        counts=Counter((one.verdict, one.why) for one in judged),
        skb_ext=seen.skb_ext,
        unread=seen.unread,
        unread_line=seen.unread_line,
        advice=advice(seen, way, reports, restart=restart),
    )


def way_of(seen: OffloadSeen) -> Way:
    """How flows of this datapath could get into hardware."""
    if seen.datapath == "system":
        return Way.TC
    if seen.datapath == "dummy":
        return Way.DUMMY
    return Way.DPDK if any(port.kind.startswith(DPDK) for port in seen.ports) else Way.NONE


def judge(flow: FlowSeen, port: PortSeen | None, seen: OffloadSeen, way: Way) -> Judged:
    """Where a flow is forwarded, and why."""
    if flow.mark is Mark.FULL:
        return Judged(flow, Verdict.HARDWARE, Why.IN_HARDWARE)
    if flow.mark is Mark.PARTIAL:
        return Judged(flow, Verdict.PARTIAL, Why.MARKED)
    if flow.mark is Mark.OTHER:
        return Judged(flow, Verdict.UNKNOWN, Why.NOT_KNOWN)
    if not seen.enabled:
        return Judged(flow, Verdict.NOT_ASKED, Why.OFF)
    if way is Way.DUMMY:
        return Judged(flow, Verdict.UNKNOWN, Why.NOT_TOLD)
    return Judged(flow, Verdict.SOFTWARE, _why_software(flow, port, seen, way))


def _why_software(flow: FlowSeen, port: PortSeen | None, seen: OffloadSeen, way: Way) -> Why:
    if way is Way.NONE:
        return Why.USERSPACE
    if seen.in_effect is False:
        return Why.NOT_IN_EFFECT
    if port is not None and port.kind in INTERNAL:
        return Why.INTERNAL
    if "userspace(" in flow.actions:
        return Why.UPCALL
    if "sample(" in flow.actions:
        return Why.SAMPLED
    return _why_dpdk(flow, port) if way is Way.DPDK else _why_tc(flow, port)


def _why_dpdk(flow: FlowSeen, port: PortSeen | None) -> Why:
    if port is None or not port.kind.startswith(DPDK):
        return Why.NOT_DPDK
    return Why.CONNTRACK if _tracked(flow) else Why.REFUSED


def _why_tc(flow: FlowSeen, port: PortSeen | None) -> Why:
    if port is not None and port.feature is Feature.FIXED and port.kind in SYSTEM:
        return Why.INCAPABLE
    if flow.layer is Layer.OVS and _tracked(flow):
        return Why.CONNTRACK
    if port is None or port.kind not in SYSTEM:
        return Why.TUNNEL
    if port.feature is Feature.OFF:
        return Why.FEATURE_OFF
    return Why.REFUSED if flow.layer is Layer.TC else Why.NOT_TAKEN


def _tracked(flow: FlowSeen) -> bool:
    """Whether a flow sends packets through connection tracking, or takes up what came back from there."""
    if "recirc(" in flow.actions or "ct(" in flow.actions:
        return True
    start = flow.match.find("recirc_id(")
    return start >= 0 and flow.match[start + 10 : flow.match.find(")", start)] not in ("0", "0x0", "0/0")


def _port(port: PortSeen, entering: list[Judged], seen: OffloadSeen, way: Way) -> PortReport:
    sums = Sums()
    for judged in entering:
        sums.add(judged)
    verdict = port_verdict(sums, seen, way)
    most = _most(judged for judged in entering if judged.verdict is not Verdict.HARDWARE)
    return PortReport(
        port=port,
        asked=seen.enabled,
        flow_api=_flow_api(port, way) if seen.enabled and seen.in_effect is not False else "",
        capable=_capable(port, way),
        verdict=verdict,
        sums=sums,
        why=about_port(port, verdict, sums, most, skb_ext=seen.skb_ext),
    )


def port_verdict(sums: Sums, seen: OffloadSeen, way: Way) -> Verdict:
    """All of what enters in hardware, some of it, or none."""
    if sums.flows and sums.flows_in_hardware == sums.flows:
        return Verdict.HARDWARE
    if sums.flows_in_hardware or sums.flows_partial:
        return Verdict.PARTIAL
    if not seen.enabled:
        return Verdict.NOT_ASKED
    if way is Way.DUMMY or sums.flows_unknown == sums.flows:
        return Verdict.UNKNOWN
    return Verdict.SOFTWARE


def _flow_api(port: PortSeen, way: Way) -> str:
    """The one that ovs-vswitchd assigns; for netdevs its ingress hook tells, for others their kind does."""
    if port.taps:
        return "linux_tc"
    if way is Way.DPDK and port.kind.startswith(DPDK):
        return "dpdk_netdev"
    return "dummy" if way is Way.DUMMY and port.kind in DUMMY else ""


def _capable(port: PortSeen, way: Way) -> bool:
    if way is Way.DPDK:
        return port.kind.startswith(DPDK)
    if way is Way.TC:
        return port.feature is Feature.ON
    return way is Way.DUMMY and port.kind in DUMMY


def _shown(port: PortSeen, entering: Mapping[str, list[Judged]]) -> bool:
    """The switch's own ports count only when something enters there."""
    return port.kind not in INTERNAL or port.netdev in entering


def _stranger(name: str) -> PortSeen:
    """Where flows enter and no interface has the name: the netdev of a tunnel."""
    return PortSeen(netdev=name, kind="tunnel")


def _most(judged: Iterable[Judged]) -> Why | None:
    """The reason that keeps most packets out of hardware; flows without any count a little."""
    weight: Counter[Why] = Counter()
    for one in judged:
        if one.verdict is not Verdict.HARDWARE:
            weight[one.why] += 1 + one.flow.packets * 1000
    return max(weight, key=lambda why: (weight[why], why.value), default=None)


def _abilities(seen: OffloadSeen, reports: Iterable[PortReport]) -> tuple[str, ...]:
    """What kernel, netdevs and switch say that they can do, as ``name=value``."""
    ports = [report.port for report in reports if report.port.feature is not Feature.UNKNOWN]
    found = [f"hw-tc-offload={sum(port.feature is Feature.ON for port in ports)}/{len(ports)}"] if ports else []
    drivers = sorted({port.driver for port in ports if port.driver})
    found += [f"drivers={','.join(drivers)}"] if drivers else []
    if seen.skb_ext is not None:
        found.append(f"NET_TC_SKB_EXT={'yes' if seen.skb_ext else 'no'}")
    if seen.inserted is not None:
        found.append(f"inserted={seen.inserted}")
    if seen.hits_partial:
        found.append(f"marked-packets={seen.hits_partial}")
    return tuple(found)


def why_flow(judged: Judged, ports: Mapping[str, PortSeen], *, skb_ext: bool | None) -> str:
    """The reason of one flow as a sentence."""
    name = judged.flow.in_port
    return why_words(judged.why, ports.get(name) or PortSeen(netdev=name), skb_ext=skb_ext)
