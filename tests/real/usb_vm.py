"""A Linux of its own in QEMU, with virtual boards plugged into it: real kernel drivers, usbfs, libusb and pyusb.

Debian's kernel and QEMU are unpacked into the cache, nothing is installed. The guest is emulated (TCG), boots into a
RAM disk, sees this machine's file system read-only over 9p, reaches it as 10.0.2.2, and runs one command. The boards
come over USB/IP (vhci-hcd) from `python -m backends.asic.virtual` on this side. What the command prints is the result.
"""

from __future__ import annotations

import gzip
import lzma
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.real.cache import REPOSITORY, UnavailableError, fetched
from tests.real.debian import unpack

PACKAGES = ("qemu-system-x86", "busybox-static", "linux-image-amd64")
MODULES = ("virtio_pci", "virtio_net", "9p", "9pnet_virtio", "vhci_hcd", "cdc_acm", "ftdi_sio", "cp210x")
BEGIN, END = "=== guest begins", "=== guest ends "
_INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module || echo "no $module"; done
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 host /host || echo "no host"
for place in proc sys dev; do mount --rbind /$place /host/$place; done
mount -t tmpfs tmpfs /host/tmp; mount -t tmpfs tmpfs /host/run
echo "{BEGIN}"
chroot /host /bin/sh -c "$(cat /command)" 2>&1
echo "{END}$?"
poweroff -f
"""


class GuestError(Exception):
    """The guest did not come up, or did not end in its time; the message holds what it printed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the command printed and its exit status; seconds it took, booting included."""

    output: str
    status: int
    seconds: float


@contextmanager
def served(*kinds: str, scale: str = "1") -> Iterator[int]:
    """Virtual boards of these kinds on 127.0.0.1, bus ids 1-1, 1-2...; gives the port."""
    command = [sys.executable, "-m", "backends.asic.virtual", "--scale", scale, "--serve", "127.0.0.1:0", *kinds]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            yield int(words[words.index("--tcp-port") + 1])
        finally:
            process.terminate()


def run_in_guest(command: Sequence[str], *, timeout_s: float, memory_mb: int = 1024) -> Outcome:
    """Run a command of this machine's in the guest, in the repository, as root, without anything writable but /tmp."""
    if REPOSITORY.parts[1] in {"tmp", "run", "proc", "sys", "dev"}:
        raise GuestError(f"{REPOSITORY} lies where the guest has a folder of its own: clone to another place")
    image = fetched("usb-vm", _fill)
    line = f"cd {shlex.quote(str(REPOSITORY))} && export HOME=/tmp PYTHONUNBUFFERED=1 && exec {shlex.join(command)}"
    initrd = image / f"initrd-{time.monotonic_ns()}"
    initrd.write_bytes(_padded((image / "initrd.gz").read_bytes()) + _cpio({"command": line.encode()}))
    began = time.monotonic()
    try:
        done = subprocess.run(
            _qemu(image, initrd, memory_mb),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"QEMU_MODULE_DIR": str(_libraries(image)[-1] / "qemu")},
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise GuestError(f"no end after {timeout_s} s:\n{_text(error.stdout or b'')[-4000:]}") from error
    finally:
        initrd.unlink()
    printed = _text(done.stdout)
    _, begun, rest = printed.partition(BEGIN + "\n")
    output, ended, status = rest.partition(END)
    if not begun or not ended:
        raise GuestError(f"the guest died, QEMU's exit status {done.returncode}:\n{printed[-4000:]}")
    return Outcome(output, int(status.split()[0]), time.monotonic() - began)


def _qemu(image: Path, initrd: Path, memory_mb: int) -> list[str]:
    libraries = _libraries(image)
    loader = next(image.glob("lib64/ld-linux*.so.*"), None) or next(image.glob("usr/lib64/ld-linux*.so.*"))
    return [
        str(loader.resolve() if loader.exists() else libraries[0] / loader.name),
        *("--library-path", ":".join(map(str, libraries)), str(image / "usr/bin/qemu-system-x86_64")),
        *("-L", str(image / "usr/share/qemu"), "-L", str(image / "usr/share/seabios")),
        *("-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-m", str(memory_mb), "-smp", "1"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(initrd)),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=unstable random.trust_cpu=on"),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
        *("-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,romfile="),
    ]


def _libraries(image: Path) -> list[Path]:
    triplet = "x86_64-linux-gnu"
    return [folder for folder in (image / "lib" / triplet, image / "usr/lib" / triplet) if folder.is_dir()]


def _fill(image: Path) -> None:
    if platform.machine() != "x86_64":
        raise UnavailableError(f"the guest is made for x86-64, and this is {platform.machine()}")
    unpack(image, *PACKAGES, suite=platform.freedesktop_os_release().get("VERSION_CODENAME", "stable"))
    shutil.copyfile(next(image.glob("boot/vmlinuz-*")), image / "vmlinuz")
    files = {"init": _INIT.encode(), "bin/busybox": next(image.glob("**/bin/busybox")).read_bytes()}
    modules = dict(_with_dependencies(image, MODULES))
    files |= {f"modules/{name}": data for name, data in modules.items()}
    files["modules/order"] = "".join(f"{name}\n" for name in modules).encode()
    (image / "initrd.gz").write_bytes(gzip.compress(_cpio(files), 1))
    for place in ("lib/modules", "usr/lib/modules", "usr/share/doc", "usr/share/man", "usr/share/locale", "boot"):
        shutil.rmtree(image / place, ignore_errors=True)


def _with_dependencies(image: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Kernel modules in an order in which they can be loaded; what is no module of this kernel is built into it."""
    for name in names:
        found = (image.glob(f"**/kernel/**/{spelling}.ko*") for spelling in (name, name.replace("_", "-")))
        if path := next(chain.from_iterable(found), None):
            data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
            needed = re.search(rb"\0depends=([^\0]+)\0", data)
            yield from _with_dependencies(image, needed[1].decode().split(",") if needed else ())
            yield name, data


def _cpio(files: dict[str, bytes]) -> bytes:
    """A "newc" archive, as the kernel unpacks it at boot; all files executable. Source: the kernel's buffer-format."""
    folders = ("proc", "sys", "dev", "host", "modules", "bin", "tmp")
    entries = [(name, 0o040755, b"") for name in folders]
    entries += [(name, 0o100755, data) for name, data in files.items()] + [("TRAILER!!!", 0, b"")]
    archive = b""
    for inode, (name, mode, data) in enumerate(entries, 1):
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08x" % value for value in fields) + name.encode() + b"\0"
        archive += _padded(head) + _padded(data)
    return archive


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _text(data: bytes) -> str:
    return data.decode(errors="replace").replace("\r\n", "\n")
