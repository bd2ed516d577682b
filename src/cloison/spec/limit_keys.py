"""The keys of the group `limits`: how each is read and written. Pure.

What can be judged without the host is refused here; what depends on it, or on other keys, in `cloison.engine.limits`.
Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/; getrlimit(2); namespaces(7).
"""

import re

import msgspec

from cloison.base import cpu_lists, units
from cloison.base.errors import Invalid
from cloison.spec import devices, key
from cloison.spec.key import Key, refuse
from cloison.spec.limits import UNLIMITED_RLIMIT, Amount, Bounds, Share

MIN_MEMORY_BYTES = 1 << 20  # below this no init gets as far as its first line
MAX_PROCESSES = 4_194_304  # PID_MAX_LIMIT of 64-bit kernels, proc(5)
MAX_CPU = 8191  # what a kernel can be built for at most (CONFIG_NR_CPUS)
MAX_WEIGHT = 10_000
MAX_IOPS = (1 << 32) - 1  # blk-throttle counts them in 32 bits
MAX_OOM_SCORE = 1000
MIN_DISK_BYTES = 1 << 20
MIN_INODES = 16
MAX_INODES = (1 << 32) - 1  # of an ext4
MAX_RAW = 4000  # a control group file takes less than a page at once

RLIMITS = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"),
    *("rtprio", "rttime", "sigpending", "stack"),
)
_COUNTED_IN_BYTES = frozenset({"as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack"})
# What belongs to the network, IPC or UTS namespace that every instance has; all else would change the host.
_OWN_SYSCTLS = ("net.", "kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")
_RAW_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)+", re.ASCII)
_SYSCTL_NAME = re.compile(r"[A-Za-z0-9_:@-]+(\.[A-Za-z0-9_:@-]+)+", re.ASCII)
# Files that are not a limit, and what is there instead.
_NOT_RAW = {
    "cgroup": "it belongs to the tree of control groups itself, which cloison and the instance's init manage",
    "tasks": "processes are in it because they run; `cloison exec` runs one more",
    "notify_on_release": "a program of the host would be run at the end; watch `cloison events` instead",
    "release_agent": "a program of the host would be run at the end; watch `cloison events` instead",
    "freezer": "use `cloison freeze` and `cloison unfreeze`",
    "devices": "use limits.devices",
}
_METERS = "it is a meter or a trigger, where what is written is done once and holds nobody back"
# The same, by the last word of a file's name, and by the whole of it.
_NOT_RAW_ENDS = {
    **dict.fromkeys(("failcnt", "max_usage_in_bytes", "peak", "pressure", "pressure_level"), _METERS),
    **dict.fromkeys(("force_empty", "reclaim", "reset_stats"), _METERS),
}
_NOT_RAW_FILES = {
    "cpuacct.usage": _METERS,
    "memory.kmem.limit_in_bytes": "kernels take it and do nothing; limits.memory counts the kernel's memory, too",
}


def _amount(name: str, text: str) -> Amount:
    return Share(units.parse_share(text, key=name)) if text.endswith("%") else key.size(name, text)


def _memory(name: str, text: str) -> Amount:
    found = _amount(name, text)
    if found == Share(0) or (isinstance(found, int) and found < MIN_MEMORY_BYTES):
        refuse(name, text, f"at least {units.format_size(MIN_MEMORY_BYTES)} is needed to start anything")
    return found


def _soft_memory(name: str, text: str) -> Amount:
    found = _amount(name, text)
    if found in (0, Share(0)):
        refuse(name, text, f"protects nothing; write a size from 1, such as 128M, or {name}= for none")
    return found


def amount_text(value: Amount) -> str:
    """A size or a percentage, as it is read back."""
    return str(value) if isinstance(value, Share) else units.exact_size(value)


def _page_size(item: str) -> str:
    """The size of a page in its canonical form: "2M" for "2048K" or "2MB", which is how the kernel writes it."""
    word = item[:-1] if item.endswith("B") and not item.endswith("iB") else item
    try:
        found = units.parse_size(word, key="")
    except Invalid:
        found = 0
    if found < 4096 or found & (found - 1):
        raise Invalid(f"{item!r} is no size of a huge page, such as 2M or 1G")
    return units.exact_size(found)


def _cpus(name: str, text: str) -> int:
    return units.parse_cpus(text, key=name)


def _cpu_set(name: str, text: str) -> str:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = [first, last] if dash else [first]
        if not all(end.isascii() and end.isdecimal() and len(end) < 6 and int(end) <= MAX_CPU for end in ends):
            refuse(name, text, f'"{part}" is no CPU; write numbers from 0 to {MAX_CPU} such as 0-1,3')
        if int(ends[-1]) < int(ends[0]):
            refuse(name, text, f'"{part}" ends before it begins; write it as {ends[-1]}-{ends[0]}')
        found |= set(range(int(ends[0]), int(ends[-1]) + 1))
    return cpu_lists.write(frozenset(found))


def _burst(name: str, text: str) -> int:
    found = round(key.duration(name, text) * 1_000_000)
    if found <= 0:
        refuse(name, text, "write a duration from 1ms, such as 20ms")
    return found


def _rate(name: str, text: str) -> int:
    found = key.size(name, text)
    if found < 1:
        refuse(name, text, "nothing could be read or written; write bytes per second from 1, such as 10M")
    return found


def _disk_size(name: str, text: str) -> int:
    found = key.size(name, text)
    if found < MIN_DISK_BYTES:
        refuse(name, text, f"at least {units.format_size(MIN_DISK_BYTES)} is needed")
    return found


def _disk(item: str) -> str:
    """A disk: its name, its numbers, or a path on it."""
    if item.startswith("/"):
        return "/" + "/".join(part for part in item.split("/") if part)
    if not re.fullmatch(r"[A-Za-z0-9_.:!+-]+(/[A-Za-z0-9_.:!+-]+)*", item, re.ASCII) or ".." in item.split("/"):
        raise Invalid(
            f"{item!r} is no disk; write its name, its numbers or a path on it, such as sda, 8:0 or /var/lib",
        )
    return item


def _rlimit_name(item: str) -> str:
    word = item.lower().removeprefix("rlimit_")
    if word not in RLIMITS:
        raise Invalid(f"{item!r} is no resource limit; write one of {', '.join(RLIMITS)}")
    return word


def _bounds(name: str, text: str) -> Bounds:
    soft, colon, hard = text.partition(":")
    numbers = [_bound(name, text, word) for word in ((soft, hard) if colon else (soft,))]
    if numbers[0] > numbers[-1]:
        refuse(
            name,
            text,
            "the soft limit, which is first, may be at most the hard one; write SOFT:HARD, such as 1024:4096",
        )
    return Bounds(numbers[0], numbers[-1])


def _bound(name: str, text: str, word: str) -> int:
    if word == "unlimited":
        return UNLIMITED_RLIMIT
    if word and name.rpartition(".")[2] in _COUNTED_IN_BYTES:
        return units.parse_size(word, key=name)
    if not word.isascii() or not word.isdecimal() or len(word) > 18:
        refuse(name, text, "write a whole number from 0, two as in 1024:4096 (soft and hard), or unlimited")
    return int(word)


def bounds_text(value: Bounds) -> str:
    """What `_bounds` reads back: "1024:4096"."""
    words = ["unlimited" if number == UNLIMITED_RLIMIT else str(number) for number in (value.soft, value.hard)]
    return words[0] if words[0] == words[1] else ":".join(words)


def _sysctl_name(item: str) -> str:
    if item == "kernel.hostname":
        raise Invalid("the host name inside is the instance's name", hint="change it with `cloison rename`")
    if not _SYSCTL_NAME.fullmatch(item) or not (item.startswith(_OWN_SYSCTLS) or item == "kernel.domainname"):
        raise Invalid(
            f"{item!r} is not an instance's own: it would change the whole host; possible are"
            " net.*, kernel.shm*, kernel.msg*, kernel.sem*, kernel.domainname and fs.mqueue.*",
            hint="change it on the host with sysctl(8)",
        )
    return item


def _line(name: str, text: str) -> str:
    if "\n" in text or "\0" in text or len(text) > MAX_RAW:
        refuse(name, text[:40], f"write one line of at most {MAX_RAW} characters")
    return text


def _raw_name(item: str) -> str:
    controller = item.partition(".")[0]
    why = _NOT_RAW.get(controller) or _NOT_RAW_FILES.get(item) or _NOT_RAW_ENDS.get(item.rpartition(".")[2])
    if why:
        raise Invalid(f"that is no limit: {why}")
    if not _RAW_NAME.fullmatch(item):
        raise Invalid(
            f"{item!r} is no file of a control group; write its bare name, such as memory.high",
        )
    return item


_weight = key.whole(1, MAX_WEIGHT, "100")
_WEIGHT = f"1 to {MAX_WEIGHT}, where others have 100"

_KEYS: tuple[Key, ...] = (
    Key("limits.memory", _memory, amount_text, "memory, in bytes or as a part of the host's", "256M"),
    Key(
        "limits.memory_soft", _soft_memory, amount_text, "memory that is not taken away while others have more", "128M"
    ),
    Key("limits.swap", _amount, amount_text, "swap besides the memory, in bytes or as a part of the host's", "512M"),
    Key(
        "limits.hugepages.*",
        _amount,
        amount_text,
        "memory in huge pages of this size",
        "64M",
        item=_page_size,
        samples=("2M", "1G"),
    ),
    Key("limits.cpus", _cpus, units.format_cpus, "CPUs worth of time", "1.5"),
    Key("limits.cpu_set", _cpu_set, str, "the CPUs that it may run on", "0-1,3"),
    Key("limits.cpu_weight", _weight, str, f"its part of the CPUs where they are scarce: {_WEIGHT}", "200"),
    Key(
        "limits.cpu_burst",
        _burst,
        lambda us: units.format_duration(us / 1_000_000),
        "CPU time that limits.cpus lets it save up",
        "20ms",
        field="limits.cpu_burst_us",
    ),
    Key("limits.processes", key.whole(1, MAX_PROCESSES, "512"), str, "processes and threads", "512"),
    Key(
        "limits.io.weight",
        _weight,
        str,
        f"its part of the disks where they are busy: {_WEIGHT}",
        "50",
        field="limits.io_weight",
    ),
    *(
        Key(
            f"limits.io.*.{direction}_{unit}",
            _rate if unit == "bps" else key.whole(1, MAX_IOPS, "100"),
            units.exact_size if unit == "bps" else str,
            f"{'bytes' if unit == 'bps' else 'operations'} per second {verb} a disk",
            "10M" if unit == "bps" else "500",
            item=_disk,
            samples=("/var/lib",),
        )
        for unit in ("bps", "iops")
        for direction, verb in (("read", "read from"), ("write", "written to"))
    ),
    Key(
        "limits.devices",
        devices.parse,
        devices.format_list,
        "what may be done with device nodes, in this order",
        "allow /dev/fuse rw, deny c 1:9 rw",
    ),
    Key(
        "limits.rlimits.*",
        _bounds,
        bounds_text,
        "a limit of each process, soft:hard: getrlimit(2)",
        "1024:4096",
        item=_rlimit_name,
        samples=RLIMITS,
    ),
    Key(
        "limits.sysctls.*",
        _line,
        str,
        "a kernel parameter of its own network, IPC or name",
        "1",
        item=_sysctl_name,
        samples=("net.ipv4.ip_forward",),
    ),
    Key(
        "limits.oom_score",
        key.whole(-MAX_OOM_SCORE, MAX_OOM_SCORE, "500"),
        str,
        "who is killed first where the host has no memory left: -1000 (never) to 1000",
        "500",
    ),
    Key("limits.disk", _disk_size, units.exact_size, "its disk, where its storage pool can limit it", "10G"),
    Key(
        "limits.inodes",
        key.whole(MIN_INODES, MAX_INODES, "100000"),
        str,
        "its files and directories, where its storage pool can limit them",
        "100000",
    ),
    Key(
        "limits.raw.*",
        _line,
        str,
        "a file of the control group, where no other key says it",
        "200M",
        item=_raw_name,
        samples=("memory.high",),
    ),
)
# All of them can be changed while the instance runs.
LIMIT_KEYS: tuple[Key, ...] = tuple(msgspec.structs.replace(found, is_live=True) for found in _KEYS)
