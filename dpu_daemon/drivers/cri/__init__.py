"""The container runtime, over the Container Runtime Interface."""

from dpu_daemon.drivers.cri.names import CriNames as CriNames
