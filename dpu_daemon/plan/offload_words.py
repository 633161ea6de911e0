"""Sentences about flow offload: why something is where it is, and what to do; pure."""

import re
from collections.abc import Iterable, Sequence

from dpu_daemon.model.offload import Feature, OffloadSeen, PortReport, PortSeen, Sums, Verdict, Way, Why

NAMED = 8
"""Ports that a sentence names; a switch may have thousands."""
UNREAD_SHOWN = 200

_FIXED: dict[Why, str] = {
    Why.IN_HARDWARE: "the hardware forwards it",
    Why.MARKED: "the hardware matches it, its actions are done in software",
    Why.OFF: "offload is off",
    Why.NOT_IN_EFFECT: "hw-offload is set, and ovs-vswitchd does not go by it yet: restart it",
    Why.NOT_TOLD: "offload is enabled, and this datapath does not tell what is in hardware",
    Why.NOT_KNOWN: "the switch says of it whether it is in hardware in a word that this daemon does not know",
    Why.USERSPACE: "the userspace datapath hands flows of DPDK ports alone to hardware, and this switch has none",
    Why.UPCALL: "its packets go to ovs-vswitchd (controller, sFlow or slow path), which hardware cannot do",
    Why.SAMPLED: "its packets are sampled, which the switch does in software",
    Why.NOT_TAKEN: (
        "ovs-vswitchd could not hand it to tc: an action or match that tc has not, or a missing kernel module "
        "(its log says `failed to offload flow`)"
    ),
    Why.IDLE: "no flow enters here now",
}

_CONNTRACK = "it goes through conntrack (ct, recirculation), which tc or the driver did not take"
_CONNTRACK_NO_EXT = "it goes through conntrack (ct, recirculation): tc needs NET_TC_SKB_EXT, which this kernel has not"


def why_words(why: Why, port: PortSeen, *, skb_ext: bool | None) -> str:
    """A reason as a sentence about a flow that enters a port."""
    if why is Why.CONNTRACK:
        return _CONNTRACK_NO_EXT if skb_ext is False else _CONNTRACK
    name, driver = port.netdev, port.driver or "its driver"
    words = {
        Why.NOT_DPDK: f"{name} is no DPDK port: of the userspace datapath only those have hardware",
        Why.INTERNAL: f"{name} is a port of the switch itself: what it sends begins in software",
        Why.INCAPABLE: f"{name} ({driver}) has no hw-tc-offload",
        Why.FEATURE_OFF: f"hw-tc-offload is off on {name}",
        Why.TUNNEL: f"it enters by {name}, a tunnel, and no uplink's hardware took its key",
        Why.REFUSED: f"{driver} of {name} did not take it: a match or action beyond this hardware, or it is full",
    }
    return words.get(why) or _FIXED[why]


def about_port(port: PortSeen, verdict: Verdict, sums: Sums, most: Why | None, *, skb_ext: bool | None) -> str:
    """One sentence about what enters a port."""
    if not sums.flows:
        return _FIXED[Why.IDLE] if port.feature is not Feature.FIXED else f"{_FIXED[Why.IDLE]}; {_incapable(port)}"
    if verdict is Verdict.HARDWARE:
        return "all of it is in hardware"
    reason = why_words(most, port, skb_ext=skb_ext) if most is not None else _FIXED[Why.NOT_TOLD]
    counted = f" (tc: {port.filters_in_hw} of {port.filters} rules in hardware)" if port.filters else ""
    if not sums.flows_in_hardware:
        return reason + counted
    soft = sums.packets - sums.packets_in_hardware
    share = f"{_percent(soft, sums.packets)} of packets" if sums.packets else "no packets"
    return f"{sums.flows - sums.flows_in_hardware} of {sums.flows} flows, {share}, are not: {reason}{counted}"


def _incapable(port: PortSeen) -> str:
    return why_words(Why.INCAPABLE, port, skb_ext=None)


def about_switch(seen: OffloadSeen, way: Way, sums: Sums, most: Why | None, *, restart: bool) -> str:
    """The whole in one sentence."""
    if not seen.datapath:
        return f"offload is {'on' if seen.enabled else 'off'}; the switch has no datapath yet"
    if not seen.enabled:
        still = "; ovs-vswitchd goes on with it until it is restarted" if restart else ""
        return f"offload is off: {sums.flows} flows in software{still}"
    if restart:
        return "offload is set but not in effect: restart ovs-vswitchd"
    if way is Way.DUMMY:
        marked = f", {seen.hits_partial} packets came marked" if seen.hits_partial else ""
        return f"offload is on, and nothing is reported in hardware: a dummy datapath does not tell{marked}"
    return _about_flows(way, sums, most)


def _about_flows(way: Way, sums: Sums, most: Why | None) -> str:
    if not sums.flows:
        return f"offload is on ({way.value}); there are no flows now"
    share = f" and {_percent(sums.packets_in_hardware, sums.packets)} of packets" if sums.packets else ""
    partly = f", {sums.flows_partial} partly" if sums.flows_partial else ""
    rest = f"; what keeps most of the rest out: {most.value}" if most is not None else ""
    return (
        f"offload is on ({way.value}): {sums.flows_in_hardware} of {sums.flows} flows{share} are in hardware"
        f"{partly}{rest}"
    )


def advice(seen: OffloadSeen, way: Way, reports: Iterable[PortReport], *, restart: bool) -> tuple[str, ...]:
    """What is wrong whatever the traffic."""
    if restart:
        word = "set" if seen.enabled else "taken back"
        return (f"hw-offload was {word} after ovs-vswitchd started and is not in effect: restart ovs-vswitchd",)
    if not seen.enabled or not seen.datapath:
        return ()
    if way is Way.NONE:
        return (f"offload is enabled, but {_FIXED[Why.USERSPACE]}",)
    off = sorted(one.port.netdev for one in reports if one.port.feature is Feature.OFF)
    if way is Way.TC and off:
        return (f"hw-tc-offload is off on {_named(off)}: flows that enter there stay in software",)
    able = [one for one in reports if one.capable]
    if way is Way.TC and seen.ports and not able:
        return ("offload is enabled, but no port of this switch has hw-tc-offload",)
    return ()


def about_unread(count: int, line: str) -> str:
    """What is said of lines among the flows that could not be read; empty for none."""
    if not count:
        return ""
    return (
        f"{count} lines of the switch's flows could not be read, so that counts are too small: it is of another "
        f"version than this daemon knows, or what it printed was cut; the first: {shortened(line, UNREAD_SHOWN)}"
    )


def shortened(text: str, most: int) -> str:
    """At most so many characters of a text, and how many there were."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


_ANY = re.compile(r"[a-z_0-9]+\((?:0/0|ns=0(?:/0)?,id=0(?:/0)?)\)(?:,|$)")
_FIELD = re.compile(r"[a-z_0-9]+=[^,()/]*/(?:[0:.]+|::)(?=[,)])")


def brief(match: str) -> str:
    """A match without what it does not look at."""
    kept = _ANY.sub("", match)
    kept = _FIELD.sub("", kept)
    kept = re.sub(r",{2,}", ",", kept).replace("(,", "(").replace(",)", ")")
    kept = re.sub(r"[a-z_0-9]+\(\)(?:,|$)", "", kept)
    return kept.removeprefix("recirc_id(0),").strip(",")
