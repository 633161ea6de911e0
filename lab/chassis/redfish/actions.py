"""What a client may do to the server: reset it, choose where it boots from, change the CD."""

import enum
from typing import TypeVar

from aiohttp import web

from lab.chassis.config import ChassisConfig
from lab.chassis.host import Host
from lab.chassis.media import change_media, media_source
from lab.chassis.record import BootOverride, BootTarget, OverrideEnabled, Record
from lab.chassis.redfish.documents import boot_mode
from lab.chassis.redfish.replies import Document, body_of, done
from lab.chassis.reset import ResetType, reset
from proto.errors import DpuError
from proto.reasons import Reason

E = TypeVar("E", bound=enum.Enum)


def choice(body: Document, field: str, kind: type[E]) -> E:
    """One of the allowable values of a property.

    Raises:
        DpuError: INVALID, naming the property and what it may be.
    """
    value = body.get(field)
    allowed = [member.value for member in kind]
    if value not in allowed:
        remedy = f"give one of {', '.join(allowed)}"
        raise DpuError(Reason.INVALID, f"{value!r} is not a value of {field}", field=field, remedy=remedy)
    return kind(value)


class Actions:
    """Handlers of requests that change something."""

    def __init__(self, config: ChassisConfig, record: Record, host: Host) -> None:
        self._config = config
        self._record = record
        self._host = host

    async def reset(self, request: web.Request) -> web.Response:
        """POST ComputerSystem.Reset."""
        await reset(self._host, choice(await body_of(request), "ResetType", ResetType))
        return done()

    async def set_boot(self, request: web.Request) -> web.Response:
        """PATCH of the system: nothing but Boot can be changed."""
        body = await body_of(request)
        for field in body:
            if field != "Boot":
                raise DpuError(Reason.INVALID, f"{field} cannot be changed", field=field, remedy="change Boot only")
        wanted = body.get("Boot")
        if not isinstance(wanted, dict):
            raise DpuError(Reason.INVALID, "Boot is not an object", field="Boot", remedy="send an object")
        self._record.change(boot=self._override(wanted))
        return done()

    def _override(self, wanted: Document) -> BootOverride:
        now = self._record.state.boot
        target, enabled = now.target, now.enabled
        for field, value in wanted.items():
            if field == "BootSourceOverrideTarget":
                target = choice(wanted, field, BootTarget)
            elif field == "BootSourceOverrideEnabled":
                enabled = choice(wanted, field, OverrideEnabled)
            elif field != "BootSourceOverrideMode":
                raise DpuError(
                    Reason.INVALID, f"Boot has no {field} here", field=f"Boot/{field}", remedy="leave it out"
                )
            elif value != boot_mode(self._config.qemu.firmware):
                remedy = f"this firmware boots in mode {boot_mode(self._config.qemu.firmware)}"
                raise DpuError(Reason.INVALID, f"mode {value!r} cannot be had", field=f"Boot/{field}", remedy=remedy)
        if enabled is OverrideEnabled.DISABLED:
            target = BootTarget.NONE
        return BootOverride(target, enabled)

    async def insert_media(self, request: web.Request) -> web.Response:
        """POST VirtualMedia.InsertMedia; an image that is in the drive already is replaced."""
        body = await body_of(request)
        image = body.get("Image")
        if not isinstance(image, str) or not image:
            raise DpuError(Reason.INVALID, "Image is needed", field="Image", remedy="give a URI")
        if body.get("WriteProtected", True) is not True:
            raise DpuError(Reason.INVALID, "a CD cannot be written", field="WriteProtected", remedy="leave it true")
        if body.get("Inserted", True) is not True:
            raise DpuError(
                Reason.INVALID, "an image is inserted or it is not", field="Inserted", remedy="leave it true"
            )
        await self._change(image)
        return done()

    async def eject_media(self, request: web.Request) -> web.Response:
        """POST VirtualMedia.EjectMedia; an empty drive stays empty."""
        await body_of(request)
        await self._change("")
        return done()

    async def _change(self, image: str) -> None:
        source = media_source(image, self._config.bmc.media_dir)
        await self._host.settled()
        if self._host.is_on:
            await change_media(self._host.monitor, source)
        self._record.change(media=image)
