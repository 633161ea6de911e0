"""Intents of OPI objects: what a client asks for is compared with all that is there, completed, and journalled."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.opi.lifecycle import said
from dpu_daemon.engine.opi.secrets import OpiSecrets
from dpu_daemon.model.disk import SeedFile, TargetAddress
from dpu_daemon.model.identity import HandleKind, handle_for
from dpu_daemon.model.opi import (
    EncryptedVolume,
    OpiKind,
    OpiObject,
    OpiSpec,
    PciFunction,
    RemoteController,
    RemotePath,
    Subsystem,
)
from dpu_daemon.plan.opi_choice import completed, refuse_other_spec, updated
from dpu_daemon.plan.opi_conflicts import function_of, refuse_conflicts
from dpu_daemon.plan.opi_references import referrers
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedObject:
    """An object as asked for; empty fields leave the choice to the daemon.

    `spec` never names a secret: `secret` is the secret itself, empty for none.
    """

    name: str
    kind: OpiKind
    spec: OpiSpec
    secret: bytes = field(default=b"", repr=False)


class OpiIntents:
    """Writes intents. Each is chosen and journalled under the ledger's allocation lock, together with its check.

    Args:
        ledger: what is wanted.
        secrets: where secrets go.
    """

    def __init__(self, ledger: Ledger, secrets: OpiSecrets) -> None:
        self._ledger = ledger
        self._secrets = secrets

    async def intend(self, asked: AskedObject) -> OpiObject:
        """Journal a new object with everything chosen.

        Raises:
            DpuError: NOT_FOUND, IN_USE, ALREADY_EXISTS, INVALID or EXHAUSTED; nothing is journalled.
        """
        ledger = self._ledger
        async with ledger.allocation:
            handle = handle_for(HandleKind.OPI, asked.name, {other.handle for other in ledger.opi.values()})
            spec = completed(asked.name, asked.spec, handle, ledger.instance_id, ledger.opi)
            thing = OpiObject(name=asked.name, kind=asked.kind, handle=handle, generation=1, spec=spec)
            refuse_conflicts(thing, ledger.opi, self._functions())
            self._refuse_attached(spec)
            if asked.secret:
                thing = replace(thing, spec=_with_secret(spec, self._secrets.keep(handle, asked.kind, asked.secret)))
            await ledger.commit(Change(put=(thing,), events=(said(thing, "Creating", "is being made"),)))
        return thing

    def _functions(self) -> Mapping[PciFunction, str]:
        """Functions of attachments: slot N of the host's bus is physical function N of port 0."""
        return {
            PciFunction(port_id=0, physical_function=record.slot, virtual_function=0): f"attachment {key}"
            for key, record in self._ledger.attachments.items()
        }

    def _refuse_attached(self, spec: OpiSpec) -> None:
        """A subsystem is connected once: two controllers to it would see one set of devices."""
        if not isinstance(spec, RemotePath) or not spec.subnqn:
            return
        for key, record in self._ledger.attachments.items():
            if isinstance(record.spec.source, TargetAddress) and record.spec.source.export == spec.subnqn:
                message = f"{spec.subnqn} is the target of attachment {key}"
                raise DpuError(Reason.IN_USE, message, field="fabrics.subnqn", remedy="detach it first")

    def refuse_other(self, record: OpiObject, asked: AskedObject) -> None:
        """Raise ALREADY_EXISTS when the same name was given another spec."""
        refuse_other_spec(record, self._named(record, asked, missing_is_same=False))

    async def follow(self, asked: AskedObject) -> OpiObject:
        """Journal an update; returns the record as it was.

        Raises:
            DpuError: INVALID or WRONG_STATE naming the field that is fixed, or a conflict; nothing is journalled.
        """
        ledger = self._ledger
        async with ledger.allocation:
            record = ledger.opi[asked.name]
            unused = not any(referrers(record, ledger.opi))
            spec = updated(record, self._named(record, asked, missing_is_same=True), unused=unused)
            if spec != record.spec:
                newer = replace(record, spec=spec, generation=record.generation + 1)
                refuse_conflicts(newer, ledger.opi, self._functions())
                await ledger.commit(Change(put=(newer,), events=(said(newer, "Updating", "is being changed"),)))
        return record

    def refuse_again(self, record: OpiObject) -> None:
        """Raise where an object cannot be as it was before."""
        refuse_conflicts(record, self._ledger.opi, self._functions())

    def _named(self, record: OpiObject, asked: AskedObject, *, missing_is_same: bool) -> OpiSpec:
        """The asked spec with its secret's name: the record's when the secret is the same, another one otherwise."""
        if not asked.secret:
            return _with_secret(asked.spec, record.secret if missing_is_same else "")
        same = bool(record.secret) and self._secrets.same(record.secret, asked.kind, asked.secret)
        return _with_secret(asked.spec, record.secret if same else "other")

    async def renounce(self, name: str) -> OpiObject | None:
        """Journal that an object is wanted no more; None when it is not there.

        Raises:
            DpuError: IN_USE naming who needs it.
        """
        ledger = self._ledger
        async with ledger.allocation:
            record = ledger.opi.get(name)
            if record is None or not record.wanted:
                return record
            holders = sorted(other.name for other in referrers(record, ledger.opi))
            if holders:
                more = f" and {len(holders) - 3} more" if len(holders) > 3 else ""
                message = f"{name} is needed by {', '.join(holders[:3])}{more}"
                raise DpuError(Reason.IN_USE, message, field="name", remedy="delete them first")
            record = replace(record, wanted=False)
            await ledger.commit(Change(put=(record,), events=(said(record, "Deleting", "is being taken away"),)))
        return record

    async def tidy(self) -> None:
        """Forget secrets that no object names."""
        async with self._ledger.allocation:
            self._secrets.forget_all_but({thing.secret for thing in self._ledger.opi.values()})


def held_slots(ledger: Ledger) -> frozenset[int]:
    """Slots of the host's bus whose PCIe function an OPI object has."""
    functions = (function_of(thing.spec) for thing in ledger.opi.values())
    return frozenset(
        function.physical_function
        for function in functions
        if function is not None and (function.port_id, function.virtual_function) == (0, 0)
    )


def refuse_connected(ledger: Ledger, source: TargetAddress | SeedFile) -> None:
    """Raise IN_USE when an OPI client connected the subsystem that an attachment is about to reach."""
    for thing in ledger.opi.values():
        path = thing.spec
        if isinstance(path, RemotePath) and isinstance(source, TargetAddress) and path.subnqn == source.export:
            message = f"{source.export} is connected as {thing.parent}"
            raise DpuError(Reason.IN_USE, message, field="spec.target.export", remedy=f"delete {thing.parent} first")


def _with_secret(spec: OpiSpec, name: str) -> OpiSpec:
    match spec:
        case RemoteController() | Subsystem():
            return replace(spec, psk=name)
        case EncryptedVolume():
            return replace(spec, key=name)
        case _:
            return spec
