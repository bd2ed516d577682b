import contextlib
from collections.abc import Callable, Iterator

import msgspec
import pytest

from cloison.base.errors import NotFound
from cloison.cli.main import run
from cloison.engine.results import (
    Change,
    ExitInfo,
    IdMapInfo,
    Info,
    LeaseInfo,
    LimitInfo,
    NetworkInfo,
    NetworkMember,
    RuleInfo,
    Stats,
)
from cloison.plan.plan import Plan
from cloison.spec.config import Config, assign_all
from cloison.spec.driver import State, Usage

RUNNING = Info(
    id="0123456789ab",
    name="web",
    kind="container",
    state=State.RUNNING,
    pid=4242,
    monitor_pid=4241,
    image="debian/12",
    image_digest="sha256:" + "0" * 64,
    privileged=False,
    idmap=(IdMapInfo(0, 1048576, 65536),),
    addresses=("10.0.0.2",),
    network="none",
    limits=LimitInfo(256 << 20, 1.5, None),
    usage=Usage(1_500_000_000, 12 << 20, 20 << 20, 9),
    created="2026-01-02T03:04:05Z",
    started="2026-01-02T03:04:06Z",
    config={"limits.memory": "256M"},
)
STOPPED = msgspec.structs.replace(
    RUNNING,
    name="db",
    state=State.STOPPED,
    pid=0,
    monitor_pid=0,
    privileged=True,
    idmap=(),
    addresses=(),
    usage=Usage(),
    exit=ExitInfo(137, "killed", "2026-01-02T05:00:00Z", 0),
)


LAN = NetworkInfo(
    name="lan",
    bridge="lan",
    ipv4="10.9.0.1/24",
    ipv6="fd00:9::1/64",
    is_up=True,
    options={"ipv4": "10.9.0.1/24", "isolated": "true"},
    created="2026-01-02T03:04:05Z",
    members=(NetworkMember("web", "eth0", "02:c1:05:01:02:03", ("10.9.0.2/24", "fd00:9::2/64"), is_running=True),),
    is_serving=True,
    leases=(LeaseInfo("10.9.0.2", "02:c1:05:01:02:03", "web", "2026-01-02T04:04:05Z"),),
    rules=(RuleInfo("from_lan", 'oifname "lan" drop', 3, 252), RuleInfo("nat_lan", "masquerade", None, None)),
    received_bytes=2048,
    sent_bytes=1 << 20,
)
CHANGES = {f"{part}.{verb}": Change((), ()) for part in ("nics", "ports") for verb in ("add", "set", "remove")}
SECOND_NS = 1_000_000_000
WEB_STATS = Stats(
    id=RUNNING.id,
    name="web",
    project="default",
    state=State.RUNNING,
    started=RUNNING.started,
    uptime_s=100.0,
    cpu_percent=1.5,
    limits=RUNNING.limits,
    usage=Usage(
        cpu_ns=1_500_000_000,
        memory_bytes=64 << 20,
        processes=9,
        read_bytes=3 << 20,
        written_bytes=1 << 20,
        received_bytes=2048,
        sent_bytes=1024,
        oom_kills=2,
    ),
    monotonic_ns=100 * SECOND_NS,
)
DB_STATS = msgspec.structs.replace(
    WEB_STATS,
    id="0123456789ac",
    name="db",
    state=State.STOPPED,
    started=None,
    uptime_s=None,
    cpu_percent=None,
    usage=Usage(),
)


class FakeInstance:
    """Writes down what it is asked for; `fails` raises instead."""

    def __init__(self, engine: "FakeEngine", info: Info) -> None:
        self.engine = engine
        self.name = info.name
        self.id = info.id
        self._info = info
        self.config = assign_all(Config(), ("nics.eth0.type=bridged", "ports.8080/tcp=80"))
        self.nics = FakePart(self, "nics")
        self.ports = FakePart(self, "ports")
        self.snapshots = FakePart(self, "snapshots")

    def console(self, connected: Callable[[], None]) -> None:
        self.__getattr__("console")()
        connected()

    def __getattr__(self, method: str) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            self.engine.calls.append((method, self.name, *args, options))
            if method in self.engine.fails:
                raise self.engine.fails[method]
            return self.engine.answers.get(method)

        return call

    @property
    def state(self) -> State:
        return self._info.state

    def info(self, *, with_disk: bool = False) -> Info:
        return msgspec.structs.replace(self._info, disk_bytes=4096 if with_disk else None)


class FakePart:
    """What belongs to an instance; its calls are those of the instance, such as `nics.add`."""

    def __init__(self, instance: FakeInstance, name: str) -> None:
        self._instance = instance
        self._name = name

    def __getattr__(self, method: str) -> Callable[..., object]:
        return self._instance.__getattr__(f"{self._name}.{method}")


class FakeNetworks:
    """The network `lan`."""

    def __init__(self, engine: "FakeEngine") -> None:
        self._engine = engine

    def all(self) -> tuple[NetworkInfo, ...]:
        return (LAN,)

    def list(self) -> tuple[NetworkInfo, ...]:
        return (LAN,)

    def info(self, name: str) -> NetworkInfo:
        self._expect(name)
        return LAN

    def delete(self, name: str) -> None:
        self._expect(name)
        self._engine.calls.append(("networks.delete", name))

    def plan(self, name: str) -> Plan:
        return Plan(f"bring the network {name} up", ())

    def __getattr__(self, method: str) -> Callable[..., None]:
        return lambda *args: self._engine.calls.append((f"networks.{method}", *args))

    def _expect(self, name: str) -> None:
        if name != LAN.name:
            raise NotFound(f"there is no network {name!r}")


class FakeEngine:
    """The instances `web`, which runs, and `db`, which does not."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.networks = FakeNetworks(self)
        self.fails: dict[str, BaseException] = {}
        self.answers: dict[str, object] = {
            "exec_here": 0,
            "snapshots.create": STOPPED,
            "set": Change((), ()),
            **CHANGES,
            "wait": True,
            "logs": b"",
        }
        self._instances = {info.name: FakeInstance(self, info) for info in (STOPPED, RUNNING)}

    def get(self, name: str) -> FakeInstance:
        if name not in self._instances:
            raise NotFound(f"there is no instance {name!r}", hint="`cloison ls` lists all of them")
        return self._instances[name]

    def instances(self) -> tuple[FakeInstance, ...]:
        return tuple(self._instances.values())

    def stats(self, names: tuple[str, ...] = (), *, is_booked: bool = True) -> tuple[Stats, ...]:
        self.calls.append(("stats", *names, {"is_booked": is_booked}))
        known = {stats.name: stats for stats in (DB_STATS, WEB_STATS)}
        missing = [name for name in names if name not in known]
        if missing:
            raise NotFound(f"there is no instance {missing[0]!r}")
        return tuple(known[name] for name in names) or tuple(known.values())

    @contextlib.contextmanager
    def keys(self) -> Iterator[Callable[[float], str]]:
        """Nobody presses a key but at the end: then q."""
        pressed = iter(("", "", "q"))
        yield lambda _timeout_s: next(pressed)

    def sample(self) -> int:
        self.calls.append(("sample", {}))
        return 2

    def ledger(self, begin_ns: int, end_ns: int, **options: object) -> object:
        self.calls.append(("ledger", begin_ns, end_ns, options))
        return self.answers["ledger"]

    def create(self, *args: object, **options: object) -> FakeInstance:
        self.calls.append(("create", *args, options))
        return self.get("web")

    def copy(self, *args: object, **options: object) -> FakeInstance:
        self.calls.append(("copy", *args, options))
        return self.get("db")

    def launch(self, *args: object, **options: object) -> FakeInstance:
        self.calls.append(("launch", *args, options))
        return self.get("web")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr("cloison.engine.engine.open_engine", lambda root=None: fake)
    return fake


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


@pytest.fixture
def cloison(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command line on the fake engine."""

    def call(line: str) -> Said:
        capsys.readouterr()
        code = run(line.split())
        return Said(code, *capsys.readouterr())

    return call
