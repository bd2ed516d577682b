"""Everything there is to know about an instance, put together for `ls` and `info`."""

import os
import time
from typing import TYPE_CHECKING

from cloison.base.ids import RANGE
from cloison.base.signals import SIGNALS
from cloison.engine import remains
from cloison.engine.records import Record
from cloison.engine.results import ExitInfo, IdMapInfo, Info, LimitInfo, NicInfo
from cloison.spec import config as configuration
from cloison.spec.devices import format_entry
from cloison.spec.driver import State, Usage
from cloison.spec.limit_keys import bounds_text
from cloison.spec.limits import Amount, Limits
from cloison.spec.nics import HOST

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

_COUNTED_STATES = (State.RUNNING, State.FROZEN, State.STOPPING)


def info(engine: "Engine", record: Record, *, with_disk: bool = False) -> Info:
    """One instance as it is now."""
    observed = engine.driver.observe(record.id)
    is_counted = observed.state in _COUNTED_STATES
    config = record.in_force if is_counted else record.config
    network = configuration.network_of(config)
    directory = engine.layout.instance(record.id)
    nics = _nics(engine, record, observed.pid if is_counted else 0, with_counts=with_disk)
    return Info(
        id=record.id,
        name=record.name,
        kind=record.kind,
        state=observed.state,
        pid=observed.pid,
        monitor_pid=observed.monitor_pid,
        image=record.image_name,
        image_digest=record.image,
        privileged=config.security.privileged,
        idmap=() if config.security.privileged else (IdMapInfo(0, record.id_base, RANGE),),
        addresses=_addresses(engine, nics, network) if is_counted else (),
        network=network,
        limits=limit_info(engine, config.limits),
        usage=engine.driver.usage(record.id, observed) if is_counted else _last_usage(engine, record),
        created=timestamp(record.created_ns) or "",
        started=timestamp(record.started_ns),
        config=dict(configuration.items(record.config)),
        exit=_exit_info(f"{directory}/exit"),
        disk_bytes=engine.pools.used_bytes(record) if with_disk else None,
        live_config=None if config == record.config else dict(configuration.items(config)),
        nics=nics,
    )


def _nics(engine: "Engine", record: Record, pid: int, *, with_counts: bool) -> tuple[NicInfo, ...]:
    if not record.config.nics and not record.in_force.nics:
        return ()
    from cloison.engine import nic_inspection

    return nic_inspection.nics(engine, record, pid, with_counts=with_counts)


def _addresses(engine: "Engine", nics: tuple[NicInfo, ...], network: str) -> tuple[str, ...]:
    """What it can be reached under: the host's addresses, or those of its nics."""
    if network == HOST:
        return engine.driver.addresses()
    return tuple(each.partition("/")[0] for nic in nics if nic.in_force for each in nic.addresses)


def limit_info(engine: "Engine", limits: Limits) -> LimitInfo:
    """The limits, as numbers; parts of what the host has are looked up."""
    if limits == Limits():
        return LimitInfo(None, None, None)
    from cloison.engine.limits import sized

    numbers = sized(engine.driver, limits)
    return LimitInfo(
        memory_bytes=_number(numbers.memory),
        cpus=None if limits.cpus is None else limits.cpus / 1000,
        processes=limits.processes,
        memory_soft_bytes=_number(numbers.memory_soft),
        swap_bytes=_number(numbers.swap),
        hugepage_bytes={page: amount for page, amount in numbers.hugepages.items() if isinstance(amount, int)},
        cpu_set=limits.cpu_set,
        cpu_weight=limits.cpu_weight,
        cpu_burst_us=limits.cpu_burst_us,
        io_weight=limits.io_weight,
        io=limits.io,
        devices=tuple(format_entry(entry) for entry in limits.devices),
        rlimits={name: bounds_text(bounds) for name, bounds in sorted(limits.rlimits.items())},
        sysctls=limits.sysctls,
        oom_score=limits.oom_score,
        raw=limits.raw,
        disk_bytes=limits.disk,
        inodes=limits.inodes,
    )


def _number(amount: Amount | None) -> int | None:
    return amount if isinstance(amount, int) else None


def _last_usage(engine: "Engine", record: Record) -> Usage:
    """What is still of interest when it has ended: whether it ran out of memory, or has done so in its last run."""
    from cloison.engine import ledger

    return Usage(oom_kills=ledger.standing_of(engine.store, record.id).oom_kills or None)


def timestamp(time_ns: int) -> str | None:
    """RFC 3339 in UTC, to the second; None for 0, "never"."""
    if not time_ns:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns // 1_000_000_000))


def _exit_info(path: str) -> ExitInfo | None:
    ended = remains.read_exit(path)
    if ended is None:
        return None
    status = ended.wait_status
    code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return ExitInfo(code, _reason(status), timestamp(ended.ended_ns) or "", ended.undo_failed)


def _reason(wait_status: int) -> str:
    """reboot(2), "Behavior inside PID namespaces": the init seems killed by SIGHUP or SIGINT."""
    if not os.WIFSIGNALED(wait_status):
        return "exited"
    return {SIGNALS["HUP"]: "rebooted", SIGNALS["INT"]: "halted"}.get(os.WTERMSIG(wait_status), "killed")
