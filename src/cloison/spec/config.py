"""The configuration of an instance: a typed value, addressed by dotted keys.

    cloison set web limits.memory=256M  ->  parse("limits.memory", "256M")  ->  Config with limits.memory = 268435456

`KEYS` is the one list of what can be set: its parser, its formatter, its default and its meaning. Unknown keys and
impossible values are errors that name the key, the value and what is allowed. An empty value takes a key back to
its default. Pure.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from cloison.base import units
from cloison.base.errors import Invalid
from cloison.base.signals import signal_number

MIN_MEMORY_BYTES = 1 << 20  # below this no init gets as far as its first line
MIN_PROCESSES = 1
MAX_PROCESSES = 4_194_304  # PID_MAX_LIMIT of 64-bit kernels, proc(5)
NETWORKS = ("none", "host")
ENDINGS = ("SIGRTMIN+3", "SIGTERM", "SIGPWR")
DEFAULT_STOP_TIMEOUT_S = 30.0
DEFAULT_LOG_SIZE = 1 << 20


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an instance may use; None is "no limit"."""

    memory: int | None = None  # bytes
    cpus: int | None = None  # thousandths of a CPU
    processes: int | None = None


class Nic(msgspec.Struct, frozen=True):
    """A network interface; `host` shares the host's network, `none` is loopback alone."""

    type: str


class Security(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an instance may do to others, and they to it."""

    privileged: bool = False
    no_new_privs: bool = False
    read_only_root: bool = False
    seccomp: bool = True


class Boot(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an instance begins and ends. An empty `stop_signal` is the image's own."""

    stop_signal: str = ""
    stop_timeout_s: float = DEFAULT_STOP_TIMEOUT_S
    own_clock: bool = False


class Console(msgspec.Struct, frozen=True, omit_defaults=True):
    """The console's log: at most twice `log_size_bytes` on disk; 0 keeps all."""

    log_size_bytes: int = DEFAULT_LOG_SIZE


class Init(msgspec.Struct, frozen=True, omit_defaults=True):
    """What runs as pid 1; an empty command is the image's own."""

    command: tuple[str, ...] = ()
    cwd: str = "/"
    uid: int = 0
    gid: int = 0


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of it."""

    limits: Limits = Limits()
    nics: dict[str, Nic] = {}
    security: Security = Security()
    boot: Boot = Boot()
    console: Console = Console()
    env: dict[str, str] = {}
    init: Init = Init()


class Key(msgspec.Struct, frozen=True):
    """One key: how its text becomes a value and back, and what it means."""

    name: str
    parse: Callable[[str, str], object]
    format: Callable[[object], str]
    meaning: str
    example: str
    is_live: bool = False  # can be changed while the instance runs


def _size(key: str, text: str) -> int | None:
    size = units.parse_size(text, key=key)
    if size < MIN_MEMORY_BYTES:
        raise Invalid(f"{key}={text}: at least {units.format_size(MIN_MEMORY_BYTES)} is needed to start anything")
    return size


def _log_size(key: str, text: str) -> int:
    return units.parse_size(text, key=key)


def _cpus(key: str, text: str) -> int:
    return units.parse_cpus(text, key=key)


def _processes(key: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not MIN_PROCESSES <= int(text) <= MAX_PROCESSES:
        raise Invalid(f"{key}={text}: write a whole number from {MIN_PROCESSES} to {MAX_PROCESSES}, such as 512")
    return int(text)


def _number(key: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) >= 0xFFFFFFFF:
        raise Invalid(f"{key}={text}: write an id, a whole number from 0, such as 1000")
    return int(text)


def _flag(key: str, text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise Invalid(f"{key}={text}: write true or false")
    return words[text.lower()]


def _duration(key: str, text: str) -> float:
    return units.parse_duration(text, key=key)


def _signal(key: str, text: str) -> str:
    if signal_number(text) is None:
        raise Invalid(f"{key}={text}: {text!r} is no signal; write a name or a number, such as {', '.join(ENDINGS)}")
    return text.upper()


def _network(key: str, text: str) -> str:
    if text not in NETWORKS:
        raise Invalid(f"{key}={text}: write one of {', '.join(NETWORKS)}")
    return text


def _words(key: str, text: str) -> tuple[str, ...]:
    import shlex  # not at the top: see tests/unit/cli/test_imports.py

    try:
        return tuple(shlex.split(text))
    except ValueError as problem:
        raise Invalid(f"{key}={text}: {problem}; write a command as in a shell, such as '/bin/sleep 60'") from None


def _joined(value: object) -> str:
    import shlex

    return shlex.join(value) if isinstance(value, tuple) else ""


def _path(key: str, text: str) -> str:
    if not text.startswith("/"):
        raise Invalid(f"{key}={text}: write an absolute path inside the instance, such as /srv")
    return text


def _text(_key: str, text: str) -> str:
    return text


def _plain(value: object) -> str:
    return str(value)


KEYS: tuple[Key, ...] = (
    Key("limits.memory", _size, lambda v: units.exact_size(int(str(v))), "memory, in bytes", "256M", is_live=True),
    Key("limits.cpus", _cpus, lambda v: units.format_cpus(int(str(v))), "CPUs worth of time", "1.5", is_live=True),
    Key("limits.processes", _processes, _plain, "processes and threads", "512", is_live=True),
    Key("nics.*.type", _network, _plain, "network: none (loopback alone) or host (the host's own)", "host"),
    Key("security.privileged", _flag, lambda v: str(v).lower(), "root inside is root of the host", "true"),
    Key("security.no_new_privs", _flag, lambda v: str(v).lower(), "no program inside can gain privileges", "true"),
    Key(
        "security.read_only_root",
        _flag,
        lambda v: str(v).lower(),
        "the root file system is read-only (root inside could lift that)",
        "true",
    ),
    Key("security.seccomp", _flag, lambda v: str(v).lower(), "filter system calls with the default profile", "false"),
    Key("boot.stop_signal", _signal, _plain, "asks the init to shut down (default: the image's own)", "SIGPWR"),
    Key("boot.stop_timeout_s", _duration, lambda v: units.format_duration(float(str(v))), "then it is killed", "30s"),
    Key("boot.own_clock", _flag, lambda v: str(v).lower(), "uptime inside counts from its own start", "true"),
    Key("console.log_size_bytes", _log_size, lambda v: units.exact_size(int(str(v))), "a log rotates at this", "1M"),
    Key("env.*", _text, _plain, "a variable of every process", "Europe/Paris"),
    Key("init.command", _words, _joined, "runs as pid 1", "/bin/sh"),
    Key("init.cwd", _path, _plain, "its working directory", "/srv"),
    Key("init.uid", _number, _plain, "its user id, as seen inside", "1000"),
    Key("init.gid", _number, _plain, "its group id, as seen inside", "1000"),
)
_ALIASES = {"boot.stop_timeout": "boot.stop_timeout_s", "console.log_size": "console.log_size_bytes"}


def find(name: str) -> Key:
    """The key called `name` (a * in a key stands for any one name). Raises Invalid with the nearest one."""
    name = _ALIASES.get(name, name)
    for key in KEYS:
        if key.name == name or _matches(key.name, name):
            return key
    import difflib

    near = difflib.get_close_matches(name, [key.name for key in KEYS], n=1)
    raise Invalid(
        f"{name!r} is no configuration key" + (f"; {near[0]!r} is one" if near else ""),
        hint="`cloison set --help` lists all keys",
    )


def _matches(pattern: str, name: str) -> bool:
    if "*" not in pattern:
        return False
    head, _, tail = pattern.partition("*")
    middle = name.removeprefix(head).removesuffix(tail)
    is_framed = name.startswith(head) and name.endswith(tail) and len(name) > len(head) + len(tail)
    return is_framed and (not tail or "." not in middle)


def assign(config: Config, name: str, text: str) -> Config:
    """`config` with one key set; an empty text takes it back to its default. Raises Invalid."""
    key = find(name)
    name = _ALIASES.get(name, name)
    _expect_utf8(name, text)
    group, _, rest = name.partition(".")
    if group == "env":
        return _with_item(config, "env", rest, text or None)
    if group == "nics":
        nic = rest.removesuffix(".type")
        return _with_item(config, "nics", nic, Nic(str(key.parse(name, text))) if text else None)
    values = msgspec.structs.asdict(getattr(config, group))
    if text:
        values[rest] = key.parse(name, text)
    else:
        del values[rest]
    return msgspec.structs.replace(config, **{group: type(getattr(config, group))(**values)})


def _expect_utf8(name: str, text: str) -> None:
    """Bytes of an argument that are no UTF-8 arrive as lone surrogates, which JSON cannot hold."""
    try:
        f"{name}{text}".encode()
    except UnicodeEncodeError:
        raise Invalid(f"{name}={text}: this is not UTF-8, in which the configuration is kept") from None


def _with_item(config: Config, group: str, name: str, value: object) -> Config:
    items = dict(getattr(config, group))
    items.pop(name, None)
    if value is not None:
        items[name] = value
    return msgspec.structs.replace(config, **{group: items})


def assign_all(config: Config, assignments: Iterable[str]) -> Config:
    """`config` with every `key=value` applied, all or none."""
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise Invalid(f"{assignment!r} is no assignment; write key=value, such as limits.memory=256M")
        config = assign(config, name, text)
    return config


def items(config: Config) -> Iterator[tuple[str, str]]:
    """Every key that is not at its default, with its value as text."""
    for key in KEYS:
        group, _, rest = key.name.partition(".")
        values = getattr(config, group)
        if group == "env":
            yield from ((f"env.{name}", value) for name, value in sorted(values.items()))
        elif group == "nics":
            yield from ((f"nics.{name}.type", nic.type) for name, nic in sorted(values.items()))
        elif getattr(values, rest) != getattr(type(values)(), rest):
            yield key.name, key.format(getattr(values, rest))


def value_of(config: Config, name: str) -> str:
    """The value of one key as text; empty for what is not set. Raises Invalid for an unknown key."""
    key = find(name)
    name = _ALIASES.get(name, name)
    group, _, rest = name.partition(".")
    values = getattr(config, group)
    if group == "env":
        return str(values.get(rest, ""))
    if group == "nics":
        nic = values.get(rest.removesuffix(".type"))
        return nic.type if nic is not None else ""
    value = getattr(values, rest)
    return "" if value is None or value == () else key.format(value)


def network_of(config: Config) -> str:
    """Whether the host's network is shared: `host` or `none`."""
    return "host" if any(nic.type == "host" for nic in config.nics.values()) else "none"
