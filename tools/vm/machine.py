"""The guest as a process: QEMU without KVM, which works wherever a program does.

Its disks are cached images, with everything that is written kept aside and thrown away, and one archive, which a run
packs anew. What comes out are three files:

    console    what the kernel and systemd say
    log        what the tests say, while they run
    results    at the end: a `Results`, as JSON

Source: qemu-system-x86_64(1).
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from tools.vm.base import Base

PROCESSORS: Final = 2
MEMORY: Final = "4G"
BOOT_S: Final = 240.0  # until the first line in the log; about 20 where nothing else runs
POLL_S: Final = 0.2
SHOWN_LINES: Final = 40


class Disks(msgspec.Struct, frozen=True):
    """What QEMU is given; nothing of it is ever written to."""

    base: Base
    tree: Path  # an archive of `tools/vm/tree.py`
    images: Path  # an ext4 of `tools/vm/images.py`


class Results(msgspec.Struct, frozen=True):
    """What the guest sends at the end: pytest's exit code, its report, and the guest's own journal."""

    code: int
    booted_s: float
    junit: str
    journal: str


class Hung(Exception):
    """The guest did not do what it should within its time, or ended without results; the text is for people."""


def run(disks: Disks, place: Path, *, deadline_s: float, hear: Callable[[str], None]) -> Results:
    """Boot, wait until the guest has turned itself off, and say what it found. `hear` gets its log as it grows.

    The three files are left in `place`. Raises Hung."""
    console, log, results = place / "console", place / "log", place / "results"
    for path in (console, log, results):
        path.write_bytes(b"")
    with _started(_command(disks, console, log, results), place / "qemu") as qemu:
        _follow(qemu, log, console, deadline_s, hear)
    said = results.read_bytes()
    if not said.endswith(b"\n"):
        raise Hung(f"the guest ended without results\n{_tail(place / 'qemu')}{_tail(console)}")
    return msgspec.json.decode(said, type=Results)


def _follow(
    qemu: subprocess.Popen[bytes], log: Path, console: Path, deadline_s: float, hear: Callable[[str], None]
) -> None:
    began = time.monotonic()
    has_spoken = False
    with open(log, errors="replace", newline="") as lines:
        while True:
            is_over = qemu.poll() is not None
            if text := lines.read():
                has_spoken = True
                hear(text.replace("\r", ""))
            if is_over:
                return
            passed = time.monotonic() - began
            if not has_spoken and passed > BOOT_S:
                raise Hung(f"the guest has not booted within {BOOT_S:.0f} s; its console says last:\n{_tail(console)}")
            if passed > deadline_s:
                said = f"its log says last:\n{_tail(log)}its console says last:\n{_tail(console)}"
                raise Hung(f"the guest was not done within {deadline_s:.0f} s; {said}")
            time.sleep(POLL_S)


@contextlib.contextmanager
def _started(command: list[str], said: Path) -> Iterator[subprocess.Popen[bytes]]:
    with open(said, "wb") as output:
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield qemu
    finally:
        qemu.kill()
        qemu.wait()


def _command(disks: Disks, console: Path, log: Path, results: Path) -> list[str]:
    root = "root=LABEL=guest rootflags=prjquota rw"  # a later remount would only count, and limit nothing
    kernel_line = f"{root} console=ttyS0 quiet panic=-1 mitigations=off systemd.show_status=error"
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"),
        *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
        *("-smp", str(PROCESSORS), "-m", MEMORY),
        *("-kernel", str(disks.base.kernel), "-initrd", str(disks.base.initrd), "-append", kernel_line),
        *("-drive", f"file={disks.base.disk},format=raw,if=none,id=disk,snapshot=on,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=disk"),
        *("-drive", f"file={disks.images},format=raw,if=none,id=images,snapshot=on,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=images,serial=images"),
        *("-drive", f"file={disks.tree},format=raw,if=none,id=tree,readonly=on"),
        *("-device", "virtio-blk-pci,drive=tree,serial=tree"),
        *("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"),
        *("-serial", f"file:{console}"),
        *("-device", "virtio-serial-pci"),
        *_port("log", log),
        *_port("results", results),
    ]


def _port(name: str, path: Path) -> tuple[str, ...]:
    return ("-chardev", f"file,id={name},path={path}", "-device", f"virtserialport,chardev={name},name={name}")


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
    return "".join(f"  | {line}\n" for line in lines)
