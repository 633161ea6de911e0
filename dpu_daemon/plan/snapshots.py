"""From an unwanted snapshot and one look at a storage node to its end."""

from dpu_daemon.model.volume import CutState, Snapshot, SnapshotSeen, TargetSeen
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import DropSnapshot


def plan_snapshot(want: Snapshot, seen: TargetSeen, *, cloning: bool) -> Plan:
    """What becomes of a snapshot whose cut is behind it.

    Args:
        want: the snapshot.
        seen: the storage node.
        cloning: a volume is about to be made of it.
    """
    has = seen.snapshots.get(want.handle)
    name = f"snapshot {want.handle}"
    if want.state is not CutState.DONE:
        return Plan.nothing(f"{name} " + ("never was cut" if want.state is CutState.VOID else "is not cut yet"))
    if has is None:
        return Plan((), f"{name}: its data is lost", hopeless=True) if want.wanted else Plan.nothing(f"{name} is gone")
    if want.wanted:
        return Plan.nothing(f"{name} is there")
    why = _kept_for(has, cloning=cloning)
    return (
        Plan.nothing(f"{name} {why}") if why else Plan((DropSnapshot(snapshot=want),), f"{name}: not wanted any more")
    )


def _kept_for(has: SnapshotSeen, *, cloning: bool) -> str:
    """Why an unwanted snapshot stays for now; empty when nothing holds it."""
    if cloning:
        return "stays: a clone is being made of it"
    if has.users > 1:
        return f"is kept, unseen, for {has.users} others that stand on it"
    return "moves its content to what stands on it" if has.merging else ""
