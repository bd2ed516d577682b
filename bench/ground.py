"""Where the bench works: one root filesystem for all, one installation of cloison, and nothing left at the end.

    <kept>/                 an installation of cloison; its images stay for the next run, its instances do not
    <made>/rootfs           a copy of cloison's busybox image, which every neighbour uses
    <made>/...              their bundles, configurations and state; all of it is removed

Everything that is started carries `mark` in its name or its directory, which is how leftovers are found.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cloison
from bench.processes import ENVIRONMENT, found

KEPT = Path(__file__).resolve().parent.parent / "build" / "bench"
CGROUPS = Path("/sys/fs/cgroup")
# Parents that the neighbours make in every hierarchy and do not take away; removed where they are empty.
_CGROUP_DEPTH = 4
THEIR_CGROUPS = ("lxc.pivot", "docker", "libpod_parent")
LXC_LOCKS = Path("/run/lxc/lock")
ALONE = "nics.eth0.type=empty"
LIMITS = ("limits.memory=64M", "limits.cpus=1", "limits.processes=100")


class Ground:
    """What the rows stand on. `later` takes what has to be undone at the end, in reverse order."""

    def __init__(self, made: Path, kept: Path, later: contextlib.ExitStack, *, is_quick: bool) -> None:
        self.made = made
        self.mark = made.name
        self.is_quick = is_quick
        self.engine = cloison.open(str(kept))
        self.later = later
        self.rootfs = made / "rootfs"

    def rounds(self, number: int) -> int:
        """How often to measure: `number` times, or hardly in a quick run."""
        return max(3, number // 10) if self.is_quick else number

    def instance(self, name: str, *config: str, image: str = "busybox") -> cloison.Instance:
        """A new instance, deleted at the end; with a loopback alone unless `config` has nics, as its neighbours."""
        alone = () if any(setting.startswith("nics.") for setting in config) else (ALONE,)
        instance = self.engine.create(image, name, config=(*alone, *config))
        self.later.callback(remove, instance)
        return instance

    def directory(self, name: str) -> Path:
        """An empty directory of the bench's own."""
        path = self.made / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def remove(instance: cloison.Instance) -> None:
    """Delete an instance, whatever state it is in; one that is gone is no error."""
    with contextlib.suppress(cloison.NotFound):
        instance.delete(force=True)


@contextlib.contextmanager
def ground(*, is_quick: bool, kept: Path = KEPT) -> Iterator[Ground]:
    """Prepare everything; take everything back."""
    kept.mkdir(parents=True, exist_ok=True)
    temporary = tempfile.TemporaryDirectory(prefix="cloison-bench-", ignore_cleanup_errors=True)
    with temporary as made, contextlib.ExitStack() as later:
        place = Ground(Path(made), kept, later, is_quick=is_quick)
        for left in place.engine.instances():  # of a run that was killed
            remove(left)
        for network in place.engine.networks.all():
            place.engine.networks.delete(network.name)
        image = place.engine.image("busybox")
        subprocess.run([found("cp"), "-a", image.layers[0], str(place.rootfs)], env=ENVIRONMENT, check=True)
        os.chmod(made, 0o755)  # an init with mapped ids has to get through
        yield place


def sweep(mark: str) -> None:
    """Remove what the neighbours leave behind: empty cgroups, and LXC's lock files, which mirror our directory."""
    for locks in LXC_LOCKS.glob(f"**/{mark}"):
        shutil.rmtree(locks, ignore_errors=True)
    for directory in sorted(_cgroups(mark), reverse=True):
        with contextlib.suppress(OSError):
            directory.rmdir()


def wire_mark(mark: str) -> str:
    """The beginning of the names of this run's interfaces and network namespaces, which have at most 15 bytes."""
    return f"cb{zlib.crc32(mark.encode()):08x}"


def leftovers(mark: str) -> tuple[str, ...]:
    """Mounts, control groups, processes, interfaces and files that still bear the mark of this run."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if mark in line]
    groups = [str(path) for path in _cgroups(mark) if mark in str(path)]
    files = [str(path) for path in Path(tempfile.gettempdir()).glob(mark)]
    wires = [
        str(path) for place in ("/sys/class/net", "/run/netns") for path in Path(place).glob(f"{wire_mark(mark)}*")
    ]
    return tuple(
        [f"mount {path}" for path in mounts]
        + [f"files {path}" for path in files]
        + [f"interface or network namespace {path}" for path in wires]
        + [f"control group {path}" for path in groups]
        + [f"process {pid} ({line})" for pid, line in processes(lambda line: mark in line)]
    )


def processes(fits: Callable[[str], bool]) -> list[tuple[int, str]]:
    """Pid and command line of every process whose command line fits."""
    seen = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if fits(line):
                    seen.append((int(entry.name), line))
    return seen


def _cgroups(mark: str) -> list[Path]:
    """Four levels deep; groups of others may vanish meanwhile, which os.walk passes over."""
    found = []
    for top, names, _files in os.walk(CGROUPS):
        found += [Path(top, name) for name in names]
        if len(Path(top).relative_to(CGROUPS).parts) >= _CGROUP_DEPTH - 1:
            names.clear()
    return [each for each in found if mark in str(each) or not {*each.parts}.isdisjoint(THEIR_CGROUPS)]
