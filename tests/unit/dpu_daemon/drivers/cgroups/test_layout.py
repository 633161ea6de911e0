import pytest

from dpu_daemon.drivers.cgroups.layout import Named, NameDriver, read_name
from dpu_daemon.model.cgroup import Layer, QosClass

UID = "0b5e2d1c-7a55-4f0e-9c1d-2f6f6d2a9e11"
SLICE_UID = UID.replace("-", "_")
CONTAINER = "9f2b" * 16

FS, SYSTEMD = NameDriver.CGROUPFS, NameDriver.SYSTEMD


def read(driver: NameDriver, *names: str) -> Named | None:
    named: Named | None = None
    for name in names:
        named = read_name(driver, name, named)
        if named is None:
            return None
    return named


@pytest.mark.parametrize(
    ("driver", "names", "qos"),
    [
        (FS, (f"pod{UID}", CONTAINER), QosClass.GUARANTEED),
        (FS, ("burstable", f"pod{UID}", CONTAINER), QosClass.BURSTABLE),
        (FS, ("besteffort", f"pod{UID}", CONTAINER), QosClass.BEST_EFFORT),
        (SYSTEMD, (f"kubepods-pod{SLICE_UID}.slice", f"cri-containerd-{CONTAINER}.scope"), QosClass.GUARANTEED),
        (
            SYSTEMD,
            (
                "kubepods-burstable.slice",
                f"kubepods-burstable-pod{SLICE_UID}.slice",
                f"crio-{CONTAINER}.scope",
            ),
            QosClass.BURSTABLE,
        ),
        (
            SYSTEMD,
            (
                "kubepods-besteffort.slice",
                f"kubepods-besteffort-pod{SLICE_UID}.slice",
                f"docker-{CONTAINER}.scope",
            ),
            QosClass.BEST_EFFORT,
        ),
    ],
)
def test_every_way_to_name_a_container_is_known(driver: NameDriver, names: tuple[str, ...], qos: QosClass) -> None:
    assert read(driver, *names) == Named(layer=Layer.CONTAINER, qos=qos, pod_uid=UID, container_id=CONTAINER)


@pytest.mark.parametrize(
    ("driver", "names"),
    [
        (FS, ("poduid/../x",)),
        (FS, ("system",)),
        (FS, ("burstable", "burstable")),
        (FS, (f"pod{UID}", "..")),
        (FS, (f"pod{UID}", CONTAINER, "inner")),
        (FS, (f"pod{UID}", "a/b")),
        (SYSTEMD, ("burstable",)),
        (SYSTEMD, (f"pod{UID}",)),
        (SYSTEMD, (f"kubepods-pod{SLICE_UID}.slice", CONTAINER)),
        (SYSTEMD, (f"kubepods-pod{SLICE_UID}.slice", "cri-containerd-...scope/x.scope")),
    ],
)
def test_what_is_not_a_pods_is_left_alone(driver: NameDriver, names: tuple[str, ...]) -> None:
    assert read(driver, *names) is None
