"""The ways to reset a host that its BMC offers, by their Redfish names."""

import enum

from lab.chassis.host import Host


class ResetType(enum.Enum):
    """Redfish's ResetType, as far as this server can."""

    ON = "On"
    FORCE_OFF = "ForceOff"
    GRACEFUL_SHUTDOWN = "GracefulShutdown"
    FORCE_RESTART = "ForceRestart"
    GRACEFUL_RESTART = "GracefulRestart"
    POWER_CYCLE = "PowerCycle"
    NMI = "Nmi"
    PUSH_POWER_BUTTON = "PushPowerButton"


async def reset(host: Host, how: ResetType) -> None:
    """Do it; what the host already is needs nothing.

    Raises:
        DpuError: WRONG_STATE to restart or interrupt a host that is off, UNAVAILABLE when it does not start.
    """
    if how is ResetType.PUSH_POWER_BUTTON:
        how = ResetType.GRACEFUL_SHUTDOWN if host.is_on else ResetType.ON
    action = {
        ResetType.ON: host.power_on,
        ResetType.FORCE_OFF: host.force_off,
        ResetType.GRACEFUL_SHUTDOWN: host.press_power_button,
        ResetType.FORCE_RESTART: host.reset,
        ResetType.GRACEFUL_RESTART: host.restart_gracefully,
        ResetType.POWER_CYCLE: host.cycle,
        ResetType.NMI: host.interrupt,
    }[how]
    await action()
