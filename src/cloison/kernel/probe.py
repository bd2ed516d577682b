"""What this host's kernel can do, found out by trying it: a version number tells little (distributions add features
and take them away), and nothing at all about permissions.

Everything that is tried happens in a process of its own (`probe_child.py`), which takes some 100 ms. So the answers are
kept in a file that holds for one boot, one user and one file system:

    {"boot_id":"…","release":"6.1.0-18-amd64","machine":"x86_64","euid":0,"device":65024,"directory":"…",
     "namespaces":["cgroup",…],"answers":{"openat2":0,…}}

Source: the manual page of each system call.
"""

import contextlib
import os
import sys

import msgspec

from cloison.base.errors import Bug
from cloison.kernel import process

_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probe_child.py")
_TIMEOUT_S = 30.0


class Answers(msgspec.Struct, frozen=True):
    """How each attempt ended: 0, or the errno with which it was refused. None: it could not even be tried."""

    # system calls
    openat2: int | None = None
    close_range: int | None = None
    pidfd: int | None = None
    clone_into_cgroup: int | None = None
    mount_api: int | None = None
    mount_setattr: int | None = None
    seccomp: int | None = None
    device_filter: int | None = None
    # namespaces: as this user, with id 0 inside mapped to another id outside
    user_namespace: int | None = None
    network_namespace: int | None = None
    # mounts: what the kernel has at all, from inside a user namespace, and of the probed directory
    overlay: int | None = None
    overlay_in_userns: int | None = None
    idmapped_mounts: int | None = None
    idmapped_overlay: int | None = None
    # kinds of network interfaces, and packet rules
    veth: int | None = None
    bridge: int | None = None
    macvlan: int | None = None
    ipvlan: int | None = None
    vlan: int | None = None
    vxlan: int | None = None
    dummy: int | None = None
    ifb: int | None = None
    bridge_vlan: int | None = None
    nftables: int | None = None


class HostFacts(msgspec.Struct, frozen=True):
    """What was found, and for whom it holds. `directory` was probed; `device` is its file system (st_dev)."""

    boot_id: str
    release: str
    machine: str
    euid: int
    directory: str
    device: int
    namespaces: tuple[str, ...]
    answers: Answers


class Privileges(msgspec.Struct, frozen=True):
    """What a process may do: its user, and masks of capabilities(7). `last` is the kernel's highest capability."""

    euid: int
    effective: int
    bounding: int
    last: int


def privileges() -> Privileges:
    """Those of the calling process, now."""
    status = dict(line.split(":\t", 1) for line in read_text("/proc/self/status").splitlines() if ":\t" in line)
    last = int(read_text("/proc/sys/kernel/cap_last_cap"))
    return Privileges(os.geteuid(), int(status["CapEff"], 16), int(status["CapBnd"], 16), last)


def facts(cache_file: str, directory: str, *, is_fresh: bool = False) -> HostFacts:
    """What this host can do for instances whose files are below `directory`.

    They are read from `cache_file` where it holds for this boot, user and file system, and `is_fresh` does not ask for
    new ones; otherwise probed, and kept there if that file can be written."""
    place = _nearest(directory)
    kept = None if is_fresh else _kept(cache_file)
    if kept is not None and _holds(kept, place):
        return kept
    found = _probe(place)
    with contextlib.suppress(OSError):
        _keep(cache_file, found)
    return found


def namespaces() -> tuple[str, ...]:
    """The kinds that the kernel has, by their names in /proc."""
    return tuple(sorted(name for name in os.listdir("/proc/self/ns") if not name.endswith("_for_children")))


def read_text(path: str) -> str:
    """A small file of /proc or /sys. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return os.fsdecode(file.readall())


def boot_id() -> str:
    """Another one after each boot of the host. Source: random(4)."""
    return read_text("/proc/sys/kernel/random/boot_id").strip()


def _holds(kept: HostFacts, place: str) -> bool:
    """Whether what is kept was found in this boot (and so with this kernel), by this user, on this file system."""
    return (kept.boot_id, kept.euid, kept.device) == (boot_id(), os.geteuid(), os.stat(place).st_dev)


def _probe(place: str) -> HostFacts:
    system = os.uname()
    return HostFacts(
        boot_id=boot_id(),
        release=system.release,
        machine=system.machine,
        euid=os.geteuid(),
        directory=place,
        device=os.stat(place).st_dev,
        namespaces=namespaces(),
        answers=_try_everything(place),
    )


def _try_everything(place: str) -> Answers:
    import shutil
    import tempfile

    directory = tempfile.mkdtemp(prefix=".probe-", dir=place)
    try:
        # -I and -S: neither the user's environment nor site-packages are looked at, which halves its start
        finished = process.run([sys.executable, "-I", "-S", _CHILD, directory], timeout_s=_TIMEOUT_S)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if finished.code:
        raise Bug(f"the probe of this host failed: {finished.stderr.decode(errors='replace').strip()}")
    return msgspec.json.decode(finished.stdout, type=Answers)


def _nearest(directory: str) -> str:
    """`directory`, or what there is of the way to it; where nothing of that can be written, the place for temporary
    files: a user who only asks should get an answer too."""
    place = os.path.abspath(directory)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    import tempfile

    return place if os.access(place, os.W_OK | os.X_OK) else tempfile.gettempdir()


def _kept(path: str) -> HostFacts | None:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=HostFacts)
    except (OSError, msgspec.MsgspecError):
        return None  # none yet, not ours to read, or written by another version


def _keep(path: str, found: HostFacts) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    beside = f"{path}.{os.urandom(4).hex()}"
    with open(beside, "xb") as file:
        file.write(msgspec.json.encode(found))
    os.rename(beside, path)
