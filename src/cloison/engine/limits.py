"""The limits of an instance against the host that it is on.

A part of the host's memory becomes a number of bytes, a disk or a path its numbers, and what the host does not have is
refused: where a limit is set, and again at each start, since hosts change. Whether a control group can express a limit
is asked of the driver.

Every refusal names key and value, and what is possible.
"""

import os
import stat
from collections.abc import Callable, Iterator
from typing import NoReturn

import msgspec

from cloison.base import cpu_lists, units
from cloison.base.errors import CloisonError, Invalid, Kernel, Unsupported
from cloison.engine import specification
from cloison.engine.drivers import Driver
from cloison.spec import config as configuration
from cloison.spec import devices
from cloison.spec.config import Config, network_of
from cloison.spec.driver import HostSize, LiveLimits
from cloison.spec.key import refuse
from cloison.spec.limit_keys import MIN_MEMORY_BYTES
from cloison.spec.limits import (
    CPU_PERIOD_US,
    Amount,
    DeviceEntry,
    Limits,
    Rates,
    Share,
    page_bytes,
)
from cloison.spec.oci import DeviceRule

TERMINALS = ((5, 2, "c 5:2 rw"), (136, 0, "c 136:* rw"))  # what the console is opened through, and what it is
RATES = Rates.__struct_fields__
# Files of control groups that a key of its own writes: {} is the name under which the key speaks of a page or a disk.
_WRITTEN_BY = {
    "limits.memory": ("memory.max", "memory.limit_in_bytes"),
    "limits.memory_soft": ("memory.low", "memory.soft_limit_in_bytes"),
    "limits.swap": ("memory.swap.max", "memory.memsw.limit_in_bytes"),
    "limits.cpus": ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
    "limits.cpu_set": ("cpuset.cpus",),
    "limits.cpu_weight": ("cpu.weight", "cpu.weight.nice", "cpu.shares", "cpu.idle"),
    "limits.cpu_burst": ("cpu.max.burst", "cpu.cfs_burst_us"),
    "limits.processes": ("pids.max",),
    "limits.io.weight": ("io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"),
}
_WRITTEN_FOR_DISKS = ("io.max", "blkio.throttle.")
_NEEDED_BY = {"limits.swap": "limits.memory", "limits.cpu_burst": "limits.cpus"}


def check(driver: Driver, instance_id: str, config: Config) -> None:
    """Raise Invalid or Unsupported for limits that this host cannot give to the instance."""
    if config.limits == Limits():
        return
    wanted = resolved(driver, config)
    try:
        driver.check_limits(instance_id, specification.live_limits(wanted))
    except CloisonError as problem:
        raise _named(driver, instance_id, config, problem) from problem


def resolved(driver: Driver, config: Config) -> Config:
    """`config` with its limits as numbers of this host. Raises Invalid and Unsupported for what it does not have."""
    limits = config.limits
    if limits == Limits():
        return config
    if _asks_for_size(limits):
        size = driver.host_size()
        limits = _sized(limits, size)
        _expect_possible(config, limits, size)
    _expect_consistent(config, limits)
    found = msgspec.structs.replace(
        limits,
        io=_disks(driver, config, _refused),
        devices=tuple(_looked_up(entry) for entry in limits.devices),
    )
    wanted = msgspec.structs.replace(config, limits=found)
    if found.devices:
        _expect_terminals(config, specification.resources(wanted).devices)
    return wanted


def in_force(driver: Driver, config: Config) -> LiveLimits:
    """The limits of a running instance; what has gone from the host meanwhile has taken its limit along."""
    limits = sized(driver, config.limits)
    entries = [entry for entry in limits.devices if not entry.path or _node(entry.path) is not None]
    found = msgspec.structs.replace(
        limits, io=_disks(driver, config, _gone), devices=tuple(_looked_up(entry) for entry in entries)
    )
    return specification.live_limits(msgspec.structs.replace(config, limits=found))


def refused_change(present: Config, wanted: Config, problem: CloisonError) -> CloisonError:
    """Why a running instance cannot have the limits of `wanted`, with the key that it is about, where one is known:
    what the driver says, that of the file which was refused, or the only one that changes."""
    before, after = dict(configuration.items(present)), dict(configuration.items(wanted))
    keys = sorted({*before, *after})
    changed = [key for key in keys if key.startswith("limits.") and before.get(key) != after.get(key)]
    file = os.path.basename(str(problem.facts.get("path", "")))
    about = [key for key in changed if key == problem.facts.get("key") or file in _WRITTEN_BY.get(key, ())] or changed
    is_known = len(about) == 1 and isinstance(problem, Invalid | Unsupported | Kernel)
    return _reworded(problem, about[0], after.get(about[0], "")) if is_known else problem


def of_processes(config: Config) -> Config:
    """`config` with no other limits than those of each process: what a command needs that is run inside."""
    limits = Limits(rlimits=config.limits.rlimits, oom_score=config.limits.oom_score)
    return msgspec.structs.replace(config, limits=limits)


# --- parts of the host ---------------------------------------------------------------------------------------


def sized(driver: Driver, limits: Limits) -> Limits:
    """`limits` with every part of the host's memory and swap in bytes."""
    amounts = (limits.memory, limits.memory_soft, limits.swap, *limits.hugepages.values())
    has_share = any(isinstance(amount, Share) for amount in amounts)
    return _sized(limits, driver.host_size()) if has_share else limits


def _asks_for_size(limits: Limits) -> bool:
    sizes = (limits.memory, limits.memory_soft, limits.swap, limits.cpus)
    return any(value is not None for value in sizes) or bool(limits.hugepages or limits.cpu_set)


def _sized(limits: Limits, size: HostSize) -> Limits:
    def number(amount: Amount | None, total: int) -> int | None:
        return amount.of(total) if isinstance(amount, Share) else amount

    return msgspec.structs.replace(
        limits,
        memory=number(limits.memory, size.memory_bytes),
        memory_soft=number(limits.memory_soft, size.memory_bytes),
        swap=number(limits.swap, size.swap_bytes),
        hugepages={
            page: amount.of(size.memory_bytes) // page_bytes(page) * page_bytes(page)
            if isinstance(amount, Share)
            else amount
            for page, amount in limits.hugepages.items()
        },
    )


def _expect_possible(config: Config, limits: Limits, size: HostSize) -> None:
    """Raise Invalid or Unsupported for what is more than the host has. `limits` are those of `config`, sized."""
    memory = units.format_size(size.memory_bytes)
    for key, amount in (("limits.memory", limits.memory), ("limits.memory_soft", limits.memory_soft)):
        if isinstance(amount, int) and amount > size.memory_bytes:
            _refuse(config, key, f"this host has {memory}; write at most that, or a part of it such as 50%")
    if isinstance(limits.memory, int) and limits.memory < MIN_MEMORY_BYTES:
        _refuse(config, "limits.memory", f"of this host's {memory} that is too little to start anything; 1M is needed")
    online = len(size.cpus)
    if limits.cpus is not None and limits.cpus > online * 1000:
        _refuse(config, "limits.cpus", f"this host has {online} CPUs; write a number from 0.01 to {online}")
    missing = cpu_lists.parse(limits.cpu_set) - set(size.cpus)
    if missing:
        there = cpu_lists.write(frozenset(size.cpus))
        _refuse(
            config, "limits.cpu_set", f"this host has no CPU {cpu_lists.write(missing)} online; possible are {there}"
        )
    for page, amount in limits.hugepages.items():
        _expect_pages(config, page, amount, size)


def _expect_pages(config: Config, page: str, amount: Amount, size: HostSize) -> None:
    key, page_size = f"limits.hugepages.{page}", page_bytes(page)
    if page_size not in size.hugepage_bytes:
        there = ", ".join(units.exact_size(one) for one in size.hugepage_bytes) or "none"
        text = configuration.value_of(config, key)
        raise Unsupported(f"{key}={text}: this host has no huge pages of {page}; possible are: {there}", key=key)
    if isinstance(amount, int) and amount > size.memory_bytes:
        _refuse(config, key, f"this host has {units.format_size(size.memory_bytes)} of memory; write at most that")
    if isinstance(amount, int) and amount % page_size:
        _refuse(config, key, f"that is no whole number of pages; write a multiple of {page}, or 0 for none at all")


# --- keys that depend on each other --------------------------------------------------------------------------


def _expect_consistent(config: Config, limits: Limits) -> None:
    """Raise Invalid for keys that contradict each other. `limits` are those of `config`, sized."""
    alone = {
        "limits.swap": limits.swap is not None and limits.memory is None,
        "limits.cpu_burst": limits.cpu_burst_us is not None and limits.cpus is None,
    }
    for key, is_alone in alone.items():
        if is_alone:
            needed = _NEEDED_BY[key]
            _refuse(config, key, f"this is on top of {needed}, which is not set; set that too, or take {key} back")
    memory, soft = limits.memory, limits.memory_soft
    if isinstance(memory, int) and isinstance(soft, int) and soft > memory:
        most = configuration.value_of(config, "limits.memory")
        _refuse(config, "limits.memory_soft", f"more than limits.memory={most}; write at most that")
    if limits.cpu_burst_us is not None and limits.cpus is not None:
        quota_us = limits.cpus * CPU_PERIOD_US // 1000
        if limits.cpu_burst_us > quota_us:
            most = units.format_duration(quota_us / 1_000_000)
            cpus = units.format_cpus(limits.cpus)
            _refuse(config, "limits.cpu_burst", f"from 1ms to {most} is possible with limits.cpus={cpus}")
    if network_of(config) == "host":
        for name in limits.sysctls:
            if name.startswith("net."):
                _refuse(
                    config, f"limits.sysctls.{name}", "it shares the host's network, whose parameters stay the host's"
                )
    if limits.raw:
        _expect_said_once(config, limits)


def _expect_said_once(config: Config, limits: Limits) -> None:
    written = {file: key for key, files in _WRITTEN_BY.items() for file in files}
    for page in limits.hugepages:
        kernel_size = specification.kernel_size(page_bytes(page))
        for name in ("max", "limit_in_bytes"):
            written[f"hugetlb.{kernel_size}.{name}"] = f"limits.hugepages.{page}"
    for file in limits.raw:
        key = written.get(file, "")
        is_set = key and configuration.value_of(config, key)
        if limits.io and file.startswith(_WRITTEN_FOR_DISKS):
            key, is_set = f"limits.io.{min(limits.io)}", "yes"
        if is_set:
            _refuse(config, f"limits.raw.{file}", f"{key} is set too, and says the same; take one of the two back")


# --- disks and device nodes ----------------------------------------------------------------------------------


def _disks(driver: Driver, config: Config, missing: Callable[[Config, str, CloisonError], None]) -> dict[str, Rates]:
    """The rates of `config` under the numbers of the disks, such as "8:0"; `missing` is told of what is no disk."""
    found: dict[str, Rates] = {}
    names: dict[str, str] = {}
    for name, rates in sorted(config.limits.io.items()):
        try:
            major, minor = driver.block_device(name)
        except CloisonError as problem:
            missing(config, _first_rate(name, rates), problem)
            continue
        disk = f"{major}:{minor}"
        if disk in found:
            rates = _together(config, disk, (names[disk], found[disk]), (name, rates))
        found[disk], names[disk] = rates, name
    return found


def _refused(config: Config, key: str, problem: CloisonError) -> None:
    raise _reworded(problem, key, configuration.value_of(config, key)) from problem


def _gone(_config: Config, _key: str, _problem: CloisonError) -> None:
    """A disk that is there no more."""


def _first_rate(name: str, rates: Rates) -> str:
    return next(f"limits.io.{name}.{rate}" for rate in RATES if getattr(rates, rate) is not None)


def _together(config: Config, disk: str, one: tuple[str, Rates], other: tuple[str, Rates]) -> Rates:
    """The rates of two names of one disk; a rate that has been said twice is refused."""
    both = {}
    for rate in RATES:
        said = [value for value in (getattr(one[1], rate), getattr(other[1], rate)) if value is not None]
        if len(said) > 1:
            _refuse(
                config,
                f"limits.io.{other[0]}.{rate}",
                f"that is the disk {disk}, and so is {one[0]} of limits.io.{one[0]}.{rate}; take one of the two back",
            )
        both[rate] = said[0] if said else None
    return Rates(**both)


def _looked_up(entry: DeviceEntry) -> DeviceEntry:
    """`entry` with the numbers of the node that its path is on the host. Raises Invalid."""
    if not entry.path:
        return entry
    mode_and_number = _node(entry.path)
    if mode_and_number is None:
        text = devices.format_entry(entry)
        refuse("limits.devices", text, f"{entry.path} is no device node of this host; `ls -l /dev` lists some")
    kind, number = mode_and_number
    return DeviceEntry(entry.allow, kind, os.major(number), os.minor(number), entry.access)


def _expect_terminals(config: Config, rules: tuple[DeviceRule, ...]) -> None:
    """Raise Invalid for a list without the terminals of the instance itself, one of which is its console."""
    for major, minor, text in TERMINALS:
        denied = [letter for letter in "rw" if not _is_allowed(rules, major, minor, letter)]
        if denied:
            needed = " and ".join(f'"allow {said}"' for _major, _minor, said in TERMINALS)
            _refuse(config, "limits.devices", f"without {text} it has no console, and cannot start; add {needed}")


def _is_allowed(rules: tuple[DeviceRule, ...], major: int, minor: int, access: str) -> bool:
    """Whether a character device may be used so: what was last said of it counts."""
    said = [
        rule.allow
        for rule in rules
        if rule.type in "ac" and rule.major in (None, major) and rule.minor in (None, minor) and access in rule.access
    ]
    return not said or said[-1]


def _node(path: str) -> tuple[str, int] | None:
    """The type and the number of a device node; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    kind = "b" if stat.S_ISBLK(found.st_mode) else "c" if stat.S_ISCHR(found.st_mode) else ""
    return (kind, found.st_rdev) if kind else None


# --- words ---------------------------------------------------------------------------------------------------


def _refuse(config: Config, key: str, why: str) -> NoReturn:
    refuse(key, configuration.value_of(config, key), why)


def _reworded(problem: CloisonError, key: str, text: str) -> CloisonError:
    """`problem` with the key and the value that it is about in front."""
    facts = {**problem.facts, "key": key, "value": text}
    return type(problem)(f"{key}={text}: {problem}", hint=problem.hint, **facts)


def _named(driver: Driver, instance_id: str, config: Config, problem: CloisonError) -> CloisonError:
    """What the driver refused, with the key that it is about: the first that it refuses alone."""
    for key, text, alone in _one_by_one(config):
        try:
            driver.check_limits(instance_id, specification.live_limits(resolved(driver, alone)))
        except (Invalid, Unsupported) as found:
            return _reworded(found, key, text)
    return problem


def _one_by_one(config: Config) -> Iterator[tuple[str, str, Config]]:
    """Every limit of `config` with its text, and `config` with that limit alone and what it is on top of."""
    bare = msgspec.structs.replace(config, limits=Limits())
    texts = {key: text for key, text in configuration.items(config) if key.startswith("limits.")}
    for key, text in texts.items():
        needed = _NEEDED_BY.get(key)
        alone = configuration.assign(bare, needed, texts[needed]) if needed else bare
        yield key, text, configuration.assign(alone, key, text)
