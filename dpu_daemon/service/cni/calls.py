"""One CNI call: from what arrived to what is printed. Everything is checked before anything is touched."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from dpu_daemon.config_net import CniSection
from dpu_daemon.engine.cni_node import CniNode
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.service.cni.environment import Environment, Verb, read_environment
from dpu_daemon.service.cni.faults import NETNS, CniCode, CniError, from_error, to_output, unready
from dpu_daemon.service.cni.frame import Call
from dpu_daemon.service.cni.metrics import CniMetrics
from dpu_daemon.service.cni.netconf import NetConf, asked_version, read_netconf
from dpu_daemon.service.cni.results import to_result
from dpu_daemon.service.cni.wishes import to_ask, to_claim, to_valid
from proto.errors import DpuError
from proto.reasons import Reason

MARGIN_S = 0.2
"""Kept back from the caller's time, for the answer."""
LEAST_S = 0.05
NO_OUTPUT = b""

_log = structlog.get_logger("dpu_daemon.cni")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end.

    Attributes:
        pid: of the plug-in; 0 when its process is not of our namespace of processes.
        gone: set when it ended its side: the runtime gave up.
    """

    pid: int
    gone: asyncio.Event


class CniCalls:
    """Serves calls.

    Args:
        node: does what is asked for.
        settings: of CNI on this node.
        metrics: where calls are counted.
    """

    def __init__(self, node: CniNode, settings: CniSection, metrics: CniMetrics) -> None:
        self._node = node
        self._settings = settings
        self._metrics = metrics

    async def stop(self, drain_s: float) -> None:
        """Finish what is running."""
        await self._node.stop(drain_s)

    async def serve(self, call: Call, caller: Caller) -> tuple[int, bytes]:
        """Exit status and output; never raises but when cancelled."""
        verb = call.environment.get("CNI_COMMAND", "")
        shown = verb if verb in Verb.__members__ else "unknown"
        began = time.perf_counter()
        with self._metrics.flying(shown):
            try:
                output = await self._served(call, caller)
            except CniError as error:
                status, output, code, message = 1, to_output(error, asked_version(call.config)), error.code, str(error)
            except Exception as error:  # noqa: BLE001  (the outermost frame of this call's task)
                _log.exception("a fault of the daemon itself", error=repr(error))
                bug = _bug(error)
                status, output, code, message = 1, to_output(bug, asked_version(call.config)), bug.code, str(bug)
            else:
                status, code, message = 0, 0, ""
        took_s = time.perf_counter() - began
        self._metrics.count(shown, code, took_s)
        # A line costs as much as a step of the call: the runtime has its answer first.
        asyncio.get_running_loop().call_soon(_tell, call, shown, code, message, took_s)
        return status, output

    async def _served(self, call: Call, caller: Caller) -> bytes:
        environment = read_environment(call.environment)
        conf = read_netconf(call.config, environment.verb)
        left_s = max(call.left_ms / 1000 - MARGIN_S, LEAST_S)
        try:
            match environment.verb:
                case Verb.ADD:
                    return await self._add(environment, conf, caller, left_s)
                case Verb.DEL:
                    await self._node.delete(environment.holder, Deadline.after(left_s))
                case Verb.CHECK:
                    _refuse_own(environment, caller)
                    checking = self._node.check(to_claim(environment, conf), Deadline.after(left_s), caller.gone)
                    await within(left_s, checking, "CHECK")
                case Verb.GC:
                    valid = to_valid(conf)
                    if valid is not None:
                        await self._node.collect(conf.name, valid, Deadline.after(left_s))
                case Verb.STATUS:
                    await within(left_s, self._node.ready(Deadline.after(left_s)), "STATUS")
        except DpuError as error:
            raise (unready(error) if environment.verb is Verb.STATUS else from_error(error)) from error
        return NO_OUTPUT

    async def _add(self, environment: Environment, conf: NetConf, caller: Caller, left_s: float) -> bytes:
        _refuse_own(environment, caller)
        ask = to_ask(environment, conf, device_info=self._settings.device_info)
        deadline = Deadline.after(min(left_s, self._settings.wait_s))
        return to_result(await self._node.add(ask, deadline, caller.gone), conf)


def _refuse_own(environment: Environment, caller: Caller) -> None:
    """Refuse the namespace that the plug-in itself stands in: it is the node's, mostly.

    Raises:
        CniError: INVALID_NETNS.
    """
    if environment.netns_override or not caller.pid:
        return
    try:
        there, own = Path(environment.netns).stat(), Path(f"/proc/{caller.pid}/ns/net").stat()
    except OSError:
        return
    if os.path.samestat(there, own):
        message = f"{NETNS}: {environment.netns} is the network namespace that the runtime itself stands in"
        remedy = "give the container's own, or set CNI_NETNS_OVERRIDE=1 when this is meant"
        raise CniError(CniCode.INVALID_NETNS, message, remedy)


def _bug(error: Exception) -> CniError:
    remedy = "report it with the daemon's log; the daemon goes on"
    return from_error(DpuError(Reason.INTERNAL, f"a fault of the daemon itself: {type(error).__name__}", remedy=remedy))


def _tell(call: Call, verb: str, code: int, message: str, took_s: float) -> None:
    """One line for each call; what is asked every few seconds is news only when it fails."""
    variables = call.environment
    pod = {
        key[8:].lower(): value
        for part in variables.get("CNI_ARGS", "").split(";")
        for key, _, value in (part.partition("="),)
        if key in {"K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID"}
    }
    named = {"container": variables.get("CNI_CONTAINERID"), "interface": variables.get("CNI_IFNAME"), **pod}
    if "TRACEPARENT" in variables:
        named["traceparent"] = variables["TRACEPARENT"]
    shown = {key: ascii(value)[1:-1][:253] for key, value in named.items() if value}
    say = _log.warning if code else _log.debug if verb == Verb.STATUS.value else _log.info
    say(f"CNI {verb}", code=int(code), ms=round(took_s * 1000, 1), **shown, **({"message": message} if message else {}))
