"""The runtimes and devices that the OpenCL loader finds.

Enumerating loads every installed driver into the process: do it in one that may crash.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from .errors import BuildFailed, DeviceLost, NoDevice, NoPlatform, OutOfResources, shortened

_PCI_BUS_INFO = 0x410F  # CL_DEVICE_PCI_BUS_INFO_KHR, of OpenCL's registry
# Codes of OpenCL's header cl.h: allocation, resources, host memory, work-group, work-item and global sizes; then
# what compiling, linking and loading a binary end with.
_RESOURCES = {-4, -5, -6, -53, -54, -55, -61, -63}
_BUILD = {-3, -11, -15, -17, -42, -43, -44, -45, -46, -47, -48}

Type = Literal["gpu", "cpu", "accelerator", "other"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A device as its runtime describes it. index: among the devices of its platform."""

    platform: str
    platform_version: str
    index: int
    name: str
    vendor: str
    driver: str
    type: Type
    pci: str | None  # "0000:01:00.0"; None: not told, or not on such a bus
    units: int
    clock_hz: float | None  # the highest, as the driver says; None: it says 0
    vector_width: int  # of 32-bit words
    work_group: int  # the largest

    @property
    def key(self) -> str:
        """The same for as long as neither hardware nor drivers change."""
        return f"{self.platform}\n{self.platform_version}\n{self.name}\n{self.driver}"


def identities() -> list[Identity]:
    """Every device of every runtime. Raises NoPlatform when there is no runtime; an empty list: no device."""
    return [identity for identity, _ in _found()]


def find(wanted: Identity) -> Any:
    """The pyopencl device of an identity. Raises NoPlatform, NoDevice."""
    for identity, device in _found():
        if identity == wanted:
            return device
    raise NoDevice(f"{wanted.name} of {wanted.platform} is not there any more, or its driver has changed: list again")


@cache
def opencl() -> Any:
    """pyopencl, imported at the first call: it loads the OpenCL loader, which nothing else needs."""
    os.environ.setdefault("PYOPENCL_NO_CACHE", "1")  # what is worth keeping is kept by `program`, and checked
    return importlib.import_module("pyopencl")


class reported:  # noqa: N801 # a with-statement's verb; no generator, as every launch passes here twice
    """Turn what pyopencl raises into this package's errors."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None or not isinstance(error, opencl().Error):
            return
        code = getattr(error, "code", None)
        text = f"{self._what}: {shortened(str(error))}"
        if code in _BUILD:
            raise BuildFailed(self._what, str(error)) from error
        # NVIDIA's driver also says "out of resources" when a card has fallen off its bus: the next call tells.
        raise (OutOfResources if code in _RESOURCES else DeviceLost)(text) from error


def _found() -> list[tuple[Identity, Any]]:
    cl = opencl()
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:
        raise NoPlatform(
            "no OpenCL runtime is installed, or its .icd file is not where the loader looks"
            f" (/etc/OpenCL/vendors, or OCL_ICD_VENDORS): {error}"
        ) from error
    if not platforms:
        raise NoPlatform("no OpenCL runtime is installed: install the driver of your card's maker")
    found = []
    for platform in platforms:
        devices = []
        with suppress(cl.Error):  # CL_DEVICE_NOT_FOUND: a driver without its card
            devices = platform.get_devices()
        found += [(_identity(cl, platform, index, device), device) for index, device in enumerate(devices)]
    return found


def _identity(cl: Any, platform: Any, index: int, device: Any) -> Identity:
    kinds: dict[Type, int] = {
        "gpu": cl.device_type.GPU,
        "cpu": cl.device_type.CPU,
        "accelerator": cl.device_type.ACCELERATOR,
    }
    return Identity(
        platform=_text(platform.name),
        platform_version=_text(platform.version),
        index=index,
        name=_text(device.name),
        vendor=_text(device.vendor),
        driver=_text(device.driver_version),
        type=next((kind for kind, bit in kinds.items() if device.type & bit), "other"),
        pci=pci_address(cl, device),
        units=device.max_compute_units,
        clock_hz=device.max_clock_frequency * 1e6 or None,
        vector_width=device.native_vector_width_int or 1,
        work_group=device.max_work_group_size,
    )


def pci_address(cl: Any, device: Any) -> str | None:
    """Where the device is plugged in, by the extension that every maker has of its own."""
    if "cl_khr_pci_bus_info" in device.extensions.split():  # pyopencl does not know it
        place = (ctypes.c_uint32 * 4)()
        library = ctypes.CDLL(cl._cl.__file__)  # noqa: SLF001 # and this is the loader that it uses
        handle = ctypes.c_void_p(device.int_ptr)
        if not library.clGetDeviceInfo(handle, _PCI_BUS_INFO, ctypes.sizeof(place), place, None):
            return "{:04x}:{:02x}:{:02x}.{:x}".format(*place)
    with suppress(cl.Error, AttributeError):  # cl_nv_device_attribute_query; NVIDIA's slot holds device and function
        domain, slot = getattr(device, "pci_domain_id_nv", 0), device.pci_slot_id_nv
        return f"{domain:04x}:{device.pci_bus_id_nv:02x}:{slot >> 3:02x}.{slot & 7:x}"
    with suppress(cl.Error, AttributeError):  # cl_amd_device_attribute_query knows no domain
        place = device.topology_amd
        return f"0000:{place.bus & 0xFF:02x}:{place.device & 0xFF:02x}.{place.function & 0xFF:x}"
    return None


def _text(value: str) -> str:
    """What a driver says of itself, fit for a line of a terminal."""
    return " ".join("".join(x if x.isprintable() else " " for x in value).split())[:200]
