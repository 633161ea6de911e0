"""The node's own port: an interface by which processes of the node, kubelet's probes above all, reach its pods.

It is an attachment like those of containers, whose runtime is this: made when the coordinator assigns a port to the
node, looked at every few seconds, made anew when something of it is missing, taken away with its assignment. No call of
CNI and no audit of containers touches it; whether it is there says nothing about whether pods can be served.
"""

import asyncio
from dataclasses import dataclass

import structlog

from dpu_daemon.engine.cni_node import CniNode
from dpu_daemon.engine.cni_protocols import SandboxLinks, SwitchSide
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.engine.sandbox_add import given
from dpu_daemon.model.assignment import Assignment, Holder, PortAsk, Sandbox
from dpu_daemon.model.sandbox import NODE, SandboxAsk
from dpu_daemon.plan.sandboxes import changed, differences, for_node, inside_of
from proto.errors import DpuError
from proto.reasons import Reason

NO_NETWORK = ""
"""In the place of a netconf's name, so that no GC means it."""
NONE = frozenset({Reason.NOT_FOUND})
WAITED = frozenset({Reason.NOT_FOUND, Reason.DEADLINE})
"""For who waits for a port: a busy DPU says a moment late that there is none. What is there goes by its word alone."""
NEWS_S = 0.5
"""Between two waits for an assignment."""
POD = "node-{}"
"""The pod's name in the assignment, of the node's."""

_log = structlog.get_logger("dpu_daemon.node_port")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePortSettings:
    """What the node's own interface is; times in seconds.

    Attributes:
        node: its name, as the coordinator has it.
        namespace: of the ports of nodes.
        interface: its name; empty for none.
        look_s: between two looks; for as long an assignment is waited for at a time.
        add_s: until it forwards.
        last_pause_s: between tries, the longest.
    """

    node: str
    namespace: str
    interface: str
    look_s: float = 5.0
    add_s: float = 30.0
    last_pause_s: float = 60.0


class NodePort:
    """A Driver of the core: it runs between `start` and `stop`, and leaves everything in place.

    Args:
        ledger: what is wanted.
        cni: makes attachments, and ends them.
        switch: assigns the port.
        links: shows the interface.
        settings: what it is.
    """

    def __init__(
        self, ledger: Ledger, cni: CniNode, switch: SwitchSide, links: SandboxLinks, settings: NodePortSettings
    ) -> None:
        self._ledger, self._cni, self._switch, self._links = ledger, cni, switch, links
        self._settings = settings
        self._holder = Holder(NODE, settings.interface)
        self._said = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self, lost: Lost) -> None:  # noqa: ARG002 - as all drivers
        """Look after it from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="the node's own port")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def version(self) -> str:
        record = self._ledger.sandboxes.get(str(self._holder))
        if record is None or record.assignment is None:
            return f"{self._settings.interface or 'no interface'}: not assigned"
        return f"{record.interface}: {', '.join(each.cidr for each in record.assignment.addresses)}"

    async def _run(self) -> None:
        pause_s = 1.0
        while True:
            try:
                rest_s = self._settings.look_s if await self.turn() else NEWS_S
                pause_s, self._said = 1.0, ""
            except DpuError as error:
                self._say(str(error))
                rest_s, pause_s = pause_s, min(pause_s * 2, self._settings.last_pause_s)
            except Exception:  # noqa: BLE001 - the outermost loop of a task: the node must not be cut off for ever
                _log.exception("the node's own port failed")
                rest_s = self._settings.last_pause_s
            await asyncio.sleep(rest_s)

    def _say(self, sentence: str) -> None:
        """Once, for as long as it stays so."""
        if sentence != self._said:
            _log.warning(f"the node's own port: {sentence}")
        self._said = sentence

    async def turn(self) -> bool:
        """One look, and what follows from it; False when it waited for an assignment in vain.

        Raises:
            DpuError: what stands in the way; nothing but a later turn is needed.
        """
        for box in tuple(self._ledger.sandboxes.values()):
            if box.container_id == NODE and box.holder != self._holder:
                await self._end(box)
        if not self._settings.interface:
            return True
        await self._finish()
        record = self._ledger.sandboxes.get(str(self._holder))
        offered = await self._offered(WAITED if record is None else NONE)
        if offered is None:
            if record is not None:
                await self._end(record)
            return record is not None
        if record is not None:
            why = await self._fault(record, offered)
            if not why:
                return True
            _log.warning(f"{record.interface} is made anew: {why}")
            await self._end(record)
        deadline = Deadline.after(self._settings.add_s)
        added = await self._cni.add(self._ask(), deadline, asyncio.Event())
        _log.info(f"{added.interface} is port {added.assignment.port_id}")
        return True

    async def _finish(self) -> None:
        """Finish what a restart has cut in two, or end it."""
        record = self._ledger.sandboxes.get(str(self._holder))
        if record is None or (record.wanted and self._cni.is_noted(record)):
            return
        await self._cni.repair(record.sandbox_id, Deadline.after(self._settings.add_s))
        self._refuse_rest()

    async def _end(self, record: Sandbox) -> None:
        await self._cni.delete(record.holder, Deadline.after(self._settings.add_s))
        self._refuse_rest(record.holder)

    def _refuse_rest(self, holder: Holder | None = None) -> None:
        """An earlier one of it must be released before there is a new one."""
        record = self._ledger.sandboxes.get(str(holder or self._holder))
        if record is not None and not record.wanted:
            message = f"the port of {record.interface} is not released yet"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="see why the switch, or the DPU, does not answer")

    async def _offered(self, meaning_none: frozenset[Reason]) -> Assignment | None:
        """The node's assignment; None when there is none.

        Args:
            meaning_none: refusals that say so.
        """
        settings = self._settings
        ask = PortAsk(
            container_id=NODE,
            interface=settings.interface,
            pod_namespace=settings.namespace,
            pod_name=POD.format(settings.node),
        )
        try:
            return for_node(await self._switch.offered(ask, Deadline.after(settings.look_s)))
        except DpuError as error:
            if error.reason not in meaning_none:
                raise
            return None

    async def _fault(self, record: Sandbox, offered: Assignment) -> str:
        """Why it must be made anew; empty when it need not. What is wrong at the switch, the switch puts right."""
        assignment = given(record)
        if changed(assignment, offered):
            return "another port is assigned, or this one is another"
        try:
            await self._switch.check(record.holder, Deadline.after(self._settings.look_s))
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return str(error)
            if error.reason is not Reason.WRONG_STATE:
                raise
        hold = self._cni.sandboxes.hold(record)
        if hold is None:
            return "it was made in another network namespace"
        try:
            seen = await self._links.look(hold, record.interface)
        finally:
            hold.close()
        return "; ".join(differences(inside_of(assignment, record.interface, record.mtu), seen))

    def _ask(self) -> SandboxAsk:
        return SandboxAsk(
            holder=self._holder,
            netns=NODE,
            network=NO_NETWORK,
            pod_namespace=self._settings.namespace,
            pod_name=POD.format(self._settings.node),
        )
