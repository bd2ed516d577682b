"""What the engine answers: typed values whose JSON keys are a public contract. Pure."""

import msgspec

from cloison.spec.driver import State, Usage
from cloison.spec.limits import Rates


class LimitInfo(msgspec.Struct, frozen=True):
    """The limits in force where it runs, else those of the next start. null, nothing and "" are "no limit"; a part of
    the host's is told in bytes."""

    memory_bytes: int | None
    cpus: float | None
    processes: int | None
    memory_soft_bytes: int | None = None
    swap_bytes: int | None = None
    hugepage_bytes: dict[str, int] = {}  # by the size of a page, such as "2M"
    cpu_set: str = ""
    cpu_weight: int | None = None
    cpu_burst_us: int | None = None
    io_weight: int | None = None
    io: dict[str, Rates] = {}  # by the name of the disk that was set
    devices: tuple[str, ...] = ()
    rlimits: dict[str, str] = {}  # soft:hard
    sysctls: dict[str, str] = {}
    oom_score: int | None = None
    raw: dict[str, str] = {}
    disk_bytes: int | None = None
    inodes: int | None = None


class PoolInfo(msgspec.Struct, frozen=True):
    """A storage pool. `path` is where its files are; bytes are null where nobody can tell. `quota` and `inode_quota`
    say why it cannot limit the disk or the inodes of an instance; they are empty where it can. `instances` are those
    whose files are in it."""

    name: str
    driver: str
    path: str
    options: dict[str, str]
    total_bytes: int | None
    free_bytes: int | None
    trees: int
    instances: tuple[str, ...]
    quota: str = ""
    inode_quota: str = ""


class IdMapInfo(msgspec.Struct, frozen=True):
    """`count` ids, from `guest` inside and `host` outside."""

    guest: int
    host: int
    count: int


class ExitInfo(msgspec.Struct, frozen=True):
    """How it ended last. `code` is 128+n for signal n; `reason` is exited, killed, halted or rebooted."""

    code: int
    reason: str
    ended: str
    undo_failed: int


class NicInfo(msgspec.Struct, frozen=True):
    """A nic of an instance. `addresses` are CIDR; where it runs they are those that it has now, else those that were
    given to it. `mac` and `mtu` are null where only a start will tell. Rates are bits per second. Counts are null where
    it does not run; they are seen from inside. `stored`: at its next start; `in_force`: now."""

    instance: str
    name: str
    type: str
    network: str
    parent: str
    mac: str | None
    mtu: int | None
    addresses: tuple[str, ...]
    stored: bool
    in_force: bool
    ingress_bps: int | None = None
    egress_bps: int | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None
    received_packets: int | None = None
    sent_packets: int | None = None
    received_dropped: int | None = None
    sent_dropped: int | None = None


class Info(msgspec.Struct, frozen=True):
    """One instance. Times are RFC 3339 in UTC, null where it never happened; pids are the host's, 0 for none.

    `config` is what it starts with; `live_config` what is in force in what runs, where that differs, else null."""

    id: str
    name: str
    kind: str
    state: State
    pid: int
    monitor_pid: int
    image: str
    image_digest: str
    privileged: bool
    idmap: tuple[IdMapInfo, ...]
    addresses: tuple[str, ...]
    network: str
    limits: LimitInfo
    usage: Usage
    created: str
    started: str | None
    config: dict[str, str]
    exit: ExitInfo | None = None
    disk_bytes: int | None = None
    live_config: dict[str, str] | None = None
    nics: tuple[NicInfo, ...] = ()


class Stats(msgspec.Struct, frozen=True):
    """What one instance uses; null where it is not running, or where this host does not count it.

    `cpu_percent` is the mean since it was started, of one CPU: two busy ones are 200. Of two readings, the difference
    of `monotonic_ns` is the time between them."""

    id: str
    name: str
    project: str
    state: State
    started: str | None
    uptime_s: float | None
    cpu_percent: float | None
    limits: LimitInfo
    usage: Usage
    monotonic_ns: int


class ExecResult(msgspec.Struct, frozen=True):
    """A command that has ended: its exit code (128+n for signal n) and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes


class Change(msgspec.Struct, frozen=True):
    """What `set` did: the keys that are in force at once, and those that wait for the next start."""

    live: tuple[str, ...]
    at_next_start: tuple[str, ...]


class NetworkMember(msgspec.Struct, frozen=True):
    """A nic on a network. `addresses` are CIDR, as far as they are known from outside."""

    instance: str
    nic: str
    mac: str
    addresses: tuple[str, ...]
    is_running: bool


class LeaseInfo(msgspec.Struct, frozen=True):
    """An address that was given by DHCP. `mac` is empty for IPv6, `name` for a client that told none; null expires
    never."""

    address: str
    mac: str
    name: str
    expires: str | None


class RuleInfo(msgspec.Struct, frozen=True):
    """A packet rule of a network, as nft(8) shows it; what it has counted is null where it does not count."""

    chain: str
    text: str
    packets: int | None
    bytes: int | None


class FirewallInfo(msgspec.Struct, frozen=True):
    """A chain of somebody else's packet rules that drops what a network lets pass: `chain` is its family, table and
    name, `hook` forward or input. `remedy` are commands that would help."""

    chain: str
    hook: str
    remedy: tuple[str, ...]


class NetworkInfo(msgspec.Struct, frozen=True):
    """A network. `ipv4` and `ipv6` are the bridge's own addresses, "" for none; `options` are those that were set.

    Of a network that is up, `is_serving` says whether its dnsmasq runs, and the counts are of its bridge: what
    instances have sent to the host and beyond is received."""

    name: str
    bridge: str
    ipv4: str
    ipv6: str
    is_up: bool
    options: dict[str, str]
    created: str
    members: tuple[NetworkMember, ...]
    is_serving: bool = False
    leases: tuple[LeaseInfo, ...] = ()
    rules: tuple[RuleInfo, ...] = ()
    in_the_way: tuple[FirewallInfo, ...] = ()
    received_bytes: int | None = None
    sent_bytes: int | None = None


class Repaired(msgspec.Struct, frozen=True):
    """One thing that `repair` took back."""

    what: str
    where: str


class SnapshotInfo(msgspec.Struct, frozen=True):
    """A snapshot. `until_start`: it goes with the next start that succeeds. `disk_bytes` is what it takes besides what
    it shares, null where that was not measured; `config` is what it had been configured to."""

    instance: str
    name: str
    created: str
    description: str
    expires: str | None
    was_running: bool
    scheduled: bool
    until_start: bool
    image: str
    config: dict[str, str]
    disk_bytes: int | None = None


class FileChange(msgspec.Struct, frozen=True):
    """A file that differs: `what` is added, changed or removed. Of a directory that is gone, only itself is named."""

    path: str
    what: str


class DueSnapshot(msgspec.Struct, frozen=True):
    """What a timer's call did: `what` is made or expired."""

    instance: str
    name: str
    what: str
