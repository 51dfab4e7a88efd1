"""What can go wrong with a device that speaks OpenCL, on top of `backends.base`.

NoPlatform, NoDevice   nothing to mine with here: the message says what to install
BuildFailed            this form of the search does not compile there; another may
OutOfResources         this form or size does not fit; a smaller one may
WrongResult            it computes wrongly: a form to avoid, or a card that is too hot or overclocked
DeviceLost             the driver has given the device up: its process must end, a new one may find it again
"""

from __future__ import annotations

from backends.base import BackendError, DeviceFault, DeviceGone

_LONGEST = 2000  # characters of a compiler's log: they are known to have a hundred thousand


class OpenclError(BackendError):
    """Root of what this package raises, Misuse aside."""


class NoPlatform(OpenclError):
    """No runtime is installed, or none that the loader finds."""


class NoDevice(OpenclError):
    """There is a runtime and it has no device, or not this one."""


class BuildFailed(OpenclError):
    """The runtime's compiler refused the program, or failed in another way; `log` is what it said, shortened."""

    def __init__(self, what: str, log: str = "") -> None:
        self.log = shortened(log)
        super().__init__(f"{what}: {self.log}" if self.log else what)


class OutOfResources(OpenclError):
    """Not enough memory, registers or work-items for this form of the search."""


class WrongResult(OpenclError, DeviceFault):
    """The device's answer is not hashlib's."""


class DeviceLost(OpenclError, DeviceGone):
    """The device or its driver does not answer any more."""


def shortened(log: str) -> str:
    """The beginning and the end, where compilers say what is wrong, without what a terminal should not be sent."""
    if len(log) > _LONGEST:
        half = _LONGEST // 2
        log = f"{log[:half]}\n[{len(log) - 2 * half} characters left out]\n{log[-half:]}"
    return "".join(x if x.isprintable() or x == "\n" else " " for x in log).strip()
