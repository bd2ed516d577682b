"""The configuration of an instance: a typed value, addressed by dotted keys.

    cloison set web limits.memory=256M  ->  parse("limits.memory", "256M")  ->  Config with limits.memory = 268435456

`KEYS` is the one list of what can be set: its parser, its formatter, its default and its meaning. Unknown keys and
impossible values are errors that name the key, the value and what is allowed. An empty value takes a key back to
its default. A * in a key stands for a name that the user chooses; one with dots may be written in quotes, as in TOML:
`limits.raw."memory.high"`. Pure.
"""

from collections.abc import Iterable, Iterator

import msgspec

from cloison.base import units
from cloison.base.errors import Invalid
from cloison.base.ids import check_name
from cloison.spec import key as keys
from cloison.spec import nics
from cloison.spec.key import Key, any_words
from cloison.spec.limit_keys import LIMIT_KEYS
from cloison.spec.limits import Limits, Rates
from cloison.spec.mount_keys import MOUNT_KEYS
from cloison.spec.mounts import MountPoint
from cloison.spec.nic_keys import NIC_KEYS, PORT_KEYS
from cloison.spec.nics import EMPTY, HOST, NONE, Nic, Target
from cloison.spec.snapshots import SNAPSHOT_KEYS, Snapshots

DEFAULT_STOP_TIMEOUT_S = 30.0
DEFAULT_LOG_SIZE = 1 << 20
DEFAULT_PROJECT = "default"


class Accounting(msgspec.Struct, frozen=True, omit_defaults=True):
    """Under which name its consumption is counted."""

    project: str = DEFAULT_PROJECT


class Security(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an instance may do to others, and they to it."""

    privileged: bool = False
    no_new_privs: bool = False
    read_only_root: bool = False
    seccomp: bool = True


class Boot(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an instance begins and ends. An empty `stop_signal` is the image's own.

    `proc_views` is "auto", "true" or "false": whether its /proc shows its limits, which takes lxcfs on the host; "auto"
    is where that runs. An `ephemeral` one is deleted when it ends, but for a reboot."""

    stop_signal: str = ""
    stop_timeout_s: float = DEFAULT_STOP_TIMEOUT_S
    own_clock: bool = False
    proc_views: str = "auto"
    ephemeral: bool = False


class Console(msgspec.Struct, frozen=True, omit_defaults=True):
    """The console's log: at most twice `log_size_bytes` on disk; 0 keeps all."""

    log_size_bytes: int = DEFAULT_LOG_SIZE


class Init(msgspec.Struct, frozen=True, omit_defaults=True):
    """What runs as pid 1, where, and as whom; what is not said is as the image has it."""

    command: tuple[str, ...] = ()
    cwd: str = ""
    uid: int | None = None
    gid: int | None = None


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of it."""

    limits: Limits = Limits()
    nics: dict[str, Nic] = {}
    ports: dict[str, Target] = {}
    mounts: dict[str, MountPoint] = {}
    security: Security = Security()
    boot: Boot = Boot()
    console: Console = Console()
    env: dict[str, str] = {}
    user: dict[str, str] = {}
    cloud_init: dict[str, str] = {}
    init: Init = Init()
    accounting: Accounting = Accounting()
    snapshots: Snapshots = Snapshots()


def _project(key: str, text: str) -> str:
    try:
        return check_name(text, what="a project")
    except Invalid as problem:
        raise Invalid(f"{key}={text}: {problem}", key=key, value=text) from None


def _proc_views(key: str, text: str) -> str:
    return text if text == "auto" else keys.flag_text(keys.flag(key, text))


KEYS: tuple[Key, ...] = (
    *LIMIT_KEYS,
    *NIC_KEYS,
    *PORT_KEYS,
    *MOUNT_KEYS,
    Key("security.privileged", keys.flag, keys.flag_text, "root inside is root of the host", "true"),
    Key("security.no_new_privs", keys.flag, keys.flag_text, "no program inside can gain privileges", "true"),
    Key(
        "security.read_only_root",
        keys.flag,
        keys.flag_text,
        "the root file system is read-only (root inside could lift that)",
        "true",
    ),
    Key("security.seccomp", keys.flag, keys.flag_text, "filter system calls with the default profile", "false"),
    Key("boot.stop_signal", keys.signal, str, "asks the init to shut down (default: the image's own)", "SIGPWR"),
    Key("boot.stop_timeout_s", keys.duration, units.format_duration, "then it is killed", "30s"),
    Key("boot.own_clock", keys.flag, keys.flag_text, "uptime inside counts from its own start", "true"),
    Key("boot.proc_views", _proc_views, str, "/proc shows its limits: where lxcfs runs (auto), always, never", "true"),
    Key("boot.ephemeral", keys.flag, keys.flag_text, "deleted when it ends, but for a reboot", "true"),
    Key("console.log_size_bytes", keys.size, units.exact_size, "a log rotates at this", "1M"),
    Key("env.*", keys.text_itself, str, "a variable of every process", "Europe/Paris", item=any_words, samples=("TZ",)),
    Key(
        "user.*",
        keys.text_itself,
        str,
        "whatever you like; files of images made for LXD and Incus may have it in them",
        "8",
        item=any_words,
        samples=("rack",),
    ),
    Key(
        "cloud-init.*",
        keys.text_itself,
        str,
        "what cloud-init finds inside, of an image that has it",
        "'#cloud-config'",
        item=any_words,
        samples=("user-data",),
        field="cloud_init.*",
    ),
    Key("init.command", keys.words, keys.words_text, "runs as pid 1", "/bin/sh"),
    Key("init.cwd", keys.guest_path, str, "its working directory (default: the image's own)", "/srv"),
    Key("init.uid", keys.user_id, str, "its user id, as seen inside (default: the image's own)", "1000"),
    Key("init.gid", keys.user_id, str, "its group id, as seen inside; 0 where only a user is set", "1000"),
    Key("accounting.project", _project, str, "under which its consumption is counted", "shop", is_live=True),
    *SNAPSHOT_KEYS,
)
_ALIASES = {"boot.stop_timeout": "boot.stop_timeout_s", "console.log_size": "console.log_size_bytes"}
_ITEMS: dict[str, msgspec.Struct] = {
    "nics": Nic(),
    "mounts": MountPoint(),
    "limits.io": Rates(),
}  # what is kept under a chosen name, unset


class Address(msgspec.Struct, frozen=True):
    """A key as somebody wrote it: `item` is what stands for the *, `name` the whole in its canonical form."""

    key: Key
    item: str
    name: str


def find(name: str) -> Key:
    """The key called `name` (a * in a key stands for any one name). Raises Invalid with the nearest one."""
    return address(name).key


def address(name: str, text: str = "") -> Address:
    """The key that `name` means, and what stands for its *. Raises Invalid, naming `text`, which is to be its value."""
    said = f"{name}={text}" if text else repr(name)
    name = _ALIASES.get(name, name)
    refused: Invalid | None = None
    for key in KEYS:
        if key.name == name and "*" not in name:
            return Address(key, "", name)
        item = _star(key.name, name)
        if item:
            try:
                item = key.item(item if key.item is any_words else _unquoted(item))
            except Invalid as problem:
                refused = Invalid(f"{said}: {problem}", hint=problem.hint, key=name)
                continue
            return Address(key, item, key.name.replace("*", item))
    raise refused or _unknown(name, said)


def _unknown(name: str, said: str) -> Invalid:
    import difflib

    names = [key.name for key in KEYS]
    siblings = [each for each in names if each.split(".")[:2] == name.split(".")[:2]]
    near = difflib.get_close_matches(name, siblings, n=1) or difflib.get_close_matches(name, names, n=1)
    return Invalid(
        f"{said}: there is no such key" + (f"; {near[0]!r} is one" if near else ""),
        hint="`cloison set --help` lists all keys",
        key=name,
    )


def _star(pattern: str, name: str) -> str:
    """What stands for the * of `pattern` in `name`; empty where that does not fit."""
    head, star, tail = pattern.partition("*")
    if not star or not (name.startswith(head) and name.endswith(tail)) or len(name) <= len(head) + len(tail):
        return ""
    return name[len(head) : len(name) - len(tail)]


def _unquoted(item: str) -> str:
    is_quoted = len(item) > 2 and item[0] == item[-1] and item[0] in "'\""
    return item[1:-1] if is_quoted else item


def _place(key: Key) -> tuple[str, str, str]:
    """Where the value of a key is kept: the group, the field in it, and the field of what has a chosen name."""
    head, _, tail = (key.field or key.name).partition(".*")
    group, _, field = head.partition(".")
    return group, field, tail.removeprefix(".")


def _read(config: Config, key: Key, item: str) -> object:
    group, field, tail = _place(key)
    value = getattr(config, group)
    value = getattr(value, field) if field else value
    if "*" not in key.name:
        return value
    value = value.get(item)
    return getattr(value, tail) if tail and value is not None else value


def _default(key: Key) -> object:
    group, field, tail = _place(key)
    if "*" in key.name:
        return getattr(_empty_item(key), tail) if tail else None
    return getattr(getattr(_NOTHING, group), field)


def _empty_item(key: Key) -> msgspec.Struct:
    """What has nothing set under a chosen name."""
    return _ITEMS[key.name.partition(".*")[0]]


def _write(config: Config, key: Key, item: str, value: object) -> Config:
    group, field, tail = _place(key)
    holder = getattr(config, group)
    if "*" in key.name:
        value = _with_item(getattr(holder, field) if field else holder, key, item, tail, value)
    if field:
        value = msgspec.structs.replace(holder, **{field: value})
    return msgspec.structs.replace(config, **{group: value})


def _with_item(present: dict[str, object], key: Key, item: str, tail: str, value: object) -> dict[str, object]:
    """The values under chosen names with one of them changed; one that says nothing any more is gone."""
    items = dict(present)
    before = items.pop(item, None)
    if tail:
        empty = _empty_item(key)
        filled = before if isinstance(before, msgspec.Struct) else empty
        changed = msgspec.structs.replace(filled, **{tail: getattr(empty, tail) if value is None else value})
        value = _rest(key, before, tail) if changed == empty else changed
    if value is not None:
        items[item] = value
    return items


def _rest(key: Key, before: object, tail: str) -> object:
    """What stays under a chosen name when nothing is said about it any more."""
    return nics.taken_back(before, tail) if key.name.startswith("nics.") and isinstance(before, Nic) else None


def assign(config: Config, name: str, text: str) -> Config:
    """`config` with one key set; an empty text takes it back to its default. Raises Invalid."""
    _expect_utf8(name, text)
    found = address(name, text)
    value = found.key.parse(found.name, text) if text else _default(found.key)
    return _write(config, found.key, found.item, value)


def _expect_utf8(name: str, text: str) -> None:
    """Bytes of an argument that are no UTF-8 arrive as lone surrogates, which JSON cannot hold."""
    try:
        f"{name}{text}".encode()
    except UnicodeEncodeError:
        raise Invalid(f"{name}={text}: this is not UTF-8, in which the configuration is kept") from None


def split(assignment: str) -> tuple[str, str]:
    """The key and the value of `key=value`. Raises Invalid."""
    name, equals, text = assignment.partition("=")
    if not equals:
        raise Invalid(f"{assignment!r} is no assignment; write key=value, such as limits.memory=256M")
    return name, text


def assign_all(config: Config, assignments: Iterable[str]) -> Config:
    """`config` with every `key=value` applied, all or none."""
    for assignment in assignments:
        config = assign(config, *split(assignment))
    return config


def items(config: Config) -> Iterator[tuple[str, str]]:
    """Every key that is not at its default, with its value as text."""
    for key in KEYS:
        group, field, _tail = _place(key)
        holder = getattr(config, group)
        names = sorted(getattr(holder, field) if field else holder) if "*" in key.name else [""]
        for item in names:
            value = _read(config, key, item)
            if value is not None and value != _default(key):
                yield key.name.replace("*", item), key.format(value)


def value_of(config: Config, name: str) -> str:
    """The value of one key as text; empty for what is not set. Raises Invalid for an unknown key."""
    found = address(name)
    value = _read(config, found.key, found.item)
    return "" if value is None or value == () else found.key.format(value)


def network_of(config: Config) -> str:
    """The network in a word: `host` (shared with the host), `none` (not even a loopback), `empty` (a loopback alone),
    or what its nics are on, with commas between."""
    kinds = [nic.kind for nic in config.nics.values()]
    for kind in (HOST, NONE, EMPTY):
        if kind in kinds:
            return kind
    found = [nic.on or nic.parent or nic.kind for _name, nic in sorted(config.nics.items())]
    return ",".join(dict.fromkeys(found)) or EMPTY


_NOTHING = Config()
