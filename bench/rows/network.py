"""What a nic costs: at a start, beside what it costs the neighbours, and in throughput, beside a bare bridge.

A nic of cloison's is bridged, with NAT and a static IPv4 address, on a network with DHCP and DNS; LXC's is a pair on a
bridge that is there, Docker's is on the bridge of its daemon. What is compared with is the same start without.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cloison
from bench import docker, lxc, wires
from bench.ground import LIMITS, Ground
from bench.processes import ENVIRONMENT, Failed, found, output, timed
from bench.rows.limits import start
from bench.series import Measure, Row, Series, alternate, compared, more_than, skipped

STARTS = {
    "cloison": "library: start with a bridged, NATed nic",
    "lxc": "lxc-start with a veth on a bridge",
    "docker": "docker start with a nic on its bridge",
}
WITHOUT = "without a nic"
MORE_MS = 3.0
QUIET_S = 0.05
THROUGHPUT = "iperf3 from instance to instance"
BARE = "bare veth pairs"
AT_LEAST = 0.95
RUN_S = 2
PORT = "5201"
PATIENCE_S = 10
LXC_NET = "198.51.100.{}/24"  # of RFC 5737, for examples: no host has it
BARE_NET = "203.0.113.{}/24"


def rows(ground: Ground) -> Iterator[Row]:
    """Each start in pairs with the same one without a nic; the two kinds of throughput in turns."""
    network = ground.engine.networks.create("bench", ["ipv6=none"])
    ground.later.callback(ground.engine.networks.delete, network.name)
    starts: dict[str, Callable[[], tuple[Series, Series]]] = {
        "cloison": lambda: _ours(ground, network.ipv4),
        "lxc": lambda: _lxc(ground),
        "docker": lambda: _docker(ground),
    }
    for name, measure in starts.items():
        if ground.is_quick and name != "cloison":
            continue
        try:
            yield more_than(STARTS[name], WITHOUT, measure(), at_most_ms=MORE_MS if name == "cloison" else None)
        except Failed as problem:
            yield skipped(STARTS[name], WITHOUT, str(problem))
    try:
        pair = alternate(_between_instances(ground, network.ipv4), _between_namespaces(ground), ground.rounds(15))
        yield compared(THROUGHPUT, BARE, pair, unit="Gbit/s", at_least=AT_LEAST)
    except Failed as problem:
        yield skipped(THROUGHPUT, BARE, str(problem))


# --- start -----------------------------------------------------------------------------------------------------------


def _ours(ground: Ground, subnet: str) -> tuple[Series, Series]:
    wired = ground.instance("wired", "init.command=/bin/true", *_nic(subnet, 7), *LIMITS)
    free = ground.instance("unwired", "init.command=/bin/true", "nics.eth0.type=empty", *LIMITS)
    return alternate(start(wired), start(free), ground.rounds(200), rest_s=QUIET_S)


def _nic(subnet: str, number: int) -> tuple[str, ...]:
    return "nics.eth0.network=bench", f"nics.eth0.addresses={_address(subnet, number)}"


def _address(subnet: str, number: int) -> str:
    """The `number`th address of a /24, given one of it."""
    return f"{subnet.rpartition('.')[0]}.{number}"


def _lxc(ground: Ground) -> tuple[Series, Series]:
    bridge = wires.bridge(ground, 0, LXC_NET.format(1))
    network = (
        "lxc.net.0.type = veth",
        f"lxc.net.0.link = {bridge}",
        "lxc.net.0.flags = up",
        "lxc.net.0.name = eth0",
        f"lxc.net.0.ipv4.address = {LXC_NET.format(7)}",
        "lxc.net.0.ipv4.gateway = 198.51.100.1",
    )
    wired = lxc.configure(ground, "wired", ground.rootfs, limits=True, network=network)
    free = lxc.configure(ground, "unwired", ground.rootfs, limits=True)
    return alternate(_lxc_start(ground, wired), _lxc_start(ground, free), ground.rounds(30), rest_s=QUIET_S)


def _lxc_start(ground: Ground, name: str) -> Measure:
    command = lxc.command("lxc-start", ground, name)

    def measure() -> float:
        took = timed(command, lxc.ENVIRONMENT)
        lxc.stop(ground, name)
        return took

    return measure


def _docker(ground: Ground) -> tuple[Series, Series]:
    client = docker.client(ground, with_bridge=True)
    made = {}
    for network in ("bridge", "none"):
        made[network] = f"{ground.mark}-{network}"
        output([*client, "create", f"--network={network}", f"--name={made[network]}", docker.IMAGE, "/bin/true"])
    wired, free = _docker_start(client, made["bridge"]), _docker_start(client, made["none"])
    return alternate(wired, free, ground.rounds(20), rest_s=QUIET_S)


def _docker_start(client: list[str], name: str) -> Measure:
    def measure() -> float:
        took = timed([*client, "start", name])
        output([*client, "wait", name])
        return took

    return measure


# --- throughput ------------------------------------------------------------------------------------------------------


def _between_instances(ground: Ground, subnet: str) -> Measure:
    """The program runs inside; server and client are two instances on one network."""
    program = found("iperf3")
    server = ground.instance("server", *_init(program, "-s", "-p", PORT), *_nic(subnet, 8))
    client = ground.instance("client", "init.command=/bin/sleep 100000", *_nic(subnet, 9))
    for instance in (server, client):
        with ground.engine.pools.driver(instance.tree.pool).directories(instance.tree) as own:
            _bring(program, Path(own.upper))
        instance.start()

    def ask(words: list[str]) -> str:
        try:
            done = client.exec(words, timeout_s=RUN_S + PATIENCE_S)
        except (TimeoutError, cloison.CloisonError) as problem:
            raise Failed(f"iperf3 in an instance: {problem!r}") from problem
        if done.code:
            raise Failed(f"iperf3 in an instance exited with {done.code}: {done.stdout.decode(errors='replace')[:200]}")
        return done.stdout.decode()

    return _throughput(ask, program, _address(subnet, 8))


def _init(*words: str) -> tuple[str]:
    return (f"init.command={' '.join(words)}",)


def _bring(program: str, root: Path) -> None:
    """A program of the host and its libraries, put into the writable layer of an instance that has not started."""
    listed = output([found("ldd"), program]).split()
    for path in (program, *dict.fromkeys(word for word in listed if word.startswith("/"))):
        target = root / path.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(path).read_bytes())
        target.chmod(0o755)
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)


def _between_namespaces(ground: Ground) -> Measure:
    """Two network namespaces with nothing around them, on a bridge without packet rules or an address."""
    program, bridge = found("iperf3"), wires.bridge(ground, 1)
    there = wires.namespace(ground, 0, bridge, BARE_NET.format(8))
    here = wires.namespace(ground, 1, bridge, BARE_NET.format(9))
    server = subprocess.Popen(
        [*there, program, "-s", "-p", PORT],
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ground.later.callback(_end, server)
    return _throughput(lambda words: output([*here, *words]), program, _address(BARE_NET, 8))


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait()


def _throughput(ask: Callable[[list[str]], str], program: str, address: str) -> Measure:
    """Gigabits per second that arrive, by one stream. The server is given a moment to listen."""

    def measure(seconds: float = RUN_S) -> float:
        said = json.loads(ask([program, "-c", address, "-p", PORT, "-t", str(seconds), "--json"]))
        if "sum_received" not in said.get("end", {}):  # it may exit with 0 where nobody listens yet
            raise Failed(f"iperf3 to {address}: {said.get('error', 'nothing was measured')}")
        return float(said["end"]["sum_received"]["bits_per_second"]) / 1e9

    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            measure(1)
            return measure
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
