"""One instance, as `cloison info` shows it to people. Pure."""

from typing import TYPE_CHECKING

from cloison.base.units import format_size
from cloison.cli.table import listed

if TYPE_CHECKING:
    from cloison.engine.results import Info, NicInfo


def portrait(info: "Info") -> str:
    """Sections of names and values; a section without any is left out."""
    sections = {
        "": _identity(info),
        "Processes": _processes(info),
        "Files": _files(info),
        "Network": [
            ("network", info.network),
            ("addresses", ", ".join(info.addresses) or "none"),
            *((nic.name, _nic(nic, is_running=info.pid != 0)) for nic in info.nics),
            *_moved("received", info.usage.received_bytes, "sent", info.usage.sent_bytes),
        ],
        "User ids": _ids(info),
        "Configuration": [(key, value) for key, value in info.config.items()],
        "In force until it stops": _differing(info),
    }
    shown = [
        (f"{title}\n" if title else f"{info.name}\n") + listed(pairs) for title, pairs in sections.items() if pairs
    ]
    return "".join(shown)


def _identity(info: "Info") -> list[tuple[str, str]]:
    pairs = [
        ("state", info.state),
        ("kind", f"{info.kind}, privileged" if info.privileged else info.kind),
        ("image", info.image),
        ("id", info.id),
        ("created", info.created),
        ("started", info.started or "never"),
    ]
    if info.exit is not None:
        undo = f", {info.exit.undo_failed} things could not be taken back" if info.exit.undo_failed else ""
        pairs.append(("last ended", f"{info.exit.ended}: {info.exit.reason}, code {info.exit.code}{undo}"))
    return pairs


def _processes(info: "Info") -> list[tuple[str, str]]:
    usage, limits = info.usage, info.limits
    pairs = [("init", f"pid {info.pid} of the host")] if info.pid else []
    pairs += [("monitor", f"pid {info.monitor_pid}")] if info.monitor_pid else []
    memory = _of(_size(usage.memory_bytes), _size(limits.memory_bytes))
    peak = f", at most {_size(usage.memory_peak_bytes)} so far" if usage.memory_peak_bytes is not None else ""
    pairs += [("memory", memory + peak)] if memory else []
    pairs += [("swap", format_size(usage.swap_bytes))] if usage.swap_bytes else []
    pairs += [("oom kills", str(usage.oom_kills))] if usage.oom_kills else []
    cpu = "" if usage.cpu_ns is None else f"{usage.cpu_ns / 1e9:.3f} s"
    held = f", held back for {usage.cpu_throttled_ns / 1e9:.3f} s" if usage.cpu_throttled_ns else ""
    limited = _of(cpu, f"{limits.cpus:g} CPUs" if limits.cpus else "")
    pairs += [("CPU time", limited + held)] if limited else []
    count = _of(_number(usage.processes), _number(limits.processes))
    pairs += [("processes", count)] if count else []
    return pairs + _moved("read", usage.read_bytes, "written", usage.written_bytes)


def _moved(one: str, one_bytes: int | None, other: str, other_bytes: int | None) -> list[tuple[str, str]]:
    """A line for two counts of bytes that belong together; none where there is nothing to tell."""
    if not one_bytes and not other_bytes:
        return []
    return [(f"{one}, {other}", f"{format_size(one_bytes or 0)}, {format_size(other_bytes or 0)}")]


def _nic(nic: "NicInfo", *, is_running: bool) -> str:
    """What it is, on what, and under which addresses."""
    where = nic.network or nic.parent
    words = [f"{nic.type} on {where}" if where else nic.type, nic.mac or "", " ".join(nic.addresses)]
    if is_running and not (nic.stored and nic.in_force):
        words.append("until it stops" if nic.in_force else "from the next start on")
    return ", ".join(word for word in words if word)


def _files(info: "Info") -> list[tuple[str, str]]:
    return [] if info.disk_bytes is None else [("own files", f"{format_size(info.disk_bytes)} besides the image's")]


def _differing(info: "Info") -> list[tuple[str, str]]:
    """What was set for the running instance alone, or for the next start alone: as it is now."""
    live = info.config if info.live_config is None else info.live_config
    keys = [key for key in {**live, **info.config} if live.get(key) != info.config.get(key)]
    return [(key, live.get(key, "not set")) for key in keys]


def _ids(info: "Info") -> list[tuple[str, str]]:
    if not info.idmap:
        return [("inside", "as on the host: root inside is root of the host")]
    return [
        (f"{part.guest} to {part.guest + part.count - 1}", f"{part.host} to {part.host + part.count - 1} of the host")
        for part in info.idmap
    ]


def _of(used: str, limit: str) -> str:
    if used and limit:
        return f"{used} of {limit}"
    return used or (f"limited to {limit}" if limit else "")


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else format_size(size_bytes)


def _number(count: int | None) -> str:
    return "" if count is None else str(count)
