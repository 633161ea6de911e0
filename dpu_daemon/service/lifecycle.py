"""LifecycleService: the part of a machine's life that happens on its DPU."""

from collections.abc import AsyncIterator
from typing import Any

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.seeds import SeedView
from dpu_daemon.service.gate import deadline_of
from dpu_daemon.service.network_wire import from_probe
from dpu_daemon.service.validation import check_address, check_generation, check_id, check_text, invalid
from proto.dpu.v1 import lifecycle_pb2, lifecycle_pb2_grpc

LONGEST_WAIT_MS = 600_000


class LifecycleService(lifecycle_pb2_grpc.LifecycleServiceServicer):
    """Wire to engine and back; errors pass through to the gate.

    Args:
        engine: of this DPU.
    """

    def __init__(self, engine: DpuEngine) -> None:
        self._engine = engine

    async def PutSeed(self, request: lifecycle_pb2.PutSeedRequest, context: Any) -> lifecycle_pb2.Seed:  # noqa: N802
        files = {
            "user-data": check_text("user_data", request.user_data, needed=False),
            "meta-data": check_text("meta_data", request.meta_data, needed=True),
        }
        if request.network_config:
            files["network-config"] = check_text("network_config", request.network_config, needed=True)
        view = await self._engine.seeds.put(
            check_id("machine_id", request.machine_id),
            check_generation(request.generation),
            files,
            deadline_of(context),
        )
        return _seed(view)

    async def DeleteSeed(  # noqa: N802
        self, request: lifecycle_pb2.DeleteSeedRequest, context: Any
    ) -> lifecycle_pb2.DeleteSeedResponse:
        machine_id = check_id("machine_id", request.machine_id)
        generation = check_generation(request.generation)
        outcome = await self._engine.seeds.delete(machine_id, generation, deadline_of(context))
        return lifecycle_pb2.DeleteSeedResponse(outcome=outcome)

    async def WaitAnswer(  # noqa: N802
        self, request: lifecycle_pb2.WaitAnswerRequest, _context: Any
    ) -> AsyncIterator[lifecycle_pb2.ProbeReport]:
        port_id = check_id("port_id", request.port_id)
        address = check_address("address", request.address)
        source = check_address("probe_address", request.probe_address)
        if not 0 < request.timeout_ms <= LONGEST_WAIT_MS:
            raise invalid("timeout_ms", f"{request.timeout_ms} is out of range", f"use 1 to {LONGEST_WAIT_MS}")
        async for result in self._engine.ports.reader.probe(port_id, address, source, request.timeout_ms / 1000):
            yield from_probe(result, address)

    async def ReleaseMachine(  # noqa: N802
        self, request: lifecycle_pb2.ReleaseMachineRequest, context: Any
    ) -> lifecycle_pb2.ReleaseMachineResponse:
        released = await self._engine.machines.release(
            check_id("machine_id", request.machine_id),
            check_generation(request.generation),
            deadline_of(context),
            force=request.force,
        )
        return lifecycle_pb2.ReleaseMachineResponse(released=released)

    async def GetMachine(  # noqa: N802
        self, request: lifecycle_pb2.GetMachineRequest, _context: Any
    ) -> lifecycle_pb2.MachineView:
        view = self._engine.machines.view(check_id("machine_id", request.machine_id))
        return lifecycle_pb2.MachineView(
            machine_id=view.machine_id,
            attachment_ids=view.attachment_ids,
            port_ids=view.port_ids,
            seed_present=view.seed_present,
        )


def _seed(view: SeedView) -> lifecycle_pb2.Seed:
    return lifecycle_pb2.Seed(
        machine_id=view.record.machine_id,
        generation=view.record.generation,
        slot=view.slot,
        sha256=view.record.sha256,
        present=view.present,
        message=view.message,
    )
