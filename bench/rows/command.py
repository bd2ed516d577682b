"""The command line, as whole processes: `cloison start` and `cloison exec`."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cloison
from bench import docker, lxc, podman
from bench.ground import LIMITS, Ground
from bench.processes import ENVIRONMENT, Failed, found, output, timed
from bench.series import Measure, Row, alternate, compared, more_than, skipped

START = "cloison start of busybox, whole process"
EXEC = "cloison exec NAME -- true, whole process"
MORE_MS = 60.0
QUIET_S = 0.05
ENDLESS = ("/bin/sleep", "100000")


def rows(ground: Ground) -> Iterator[Row]:
    """Start beside a bare interpreter and `lxc-start`; exec beside those that have one."""
    yield from _starts(ground)
    yield from _execs(ground)


def program() -> list[str]:
    """The installed command of this interpreter."""
    path = Path(sys.executable).with_name("cloison")
    return [str(path)] if os.access(path, os.X_OK) else [sys.executable, "-m", "cloison"]


def cloison_command(ground: Ground, *words: str) -> Measure:
    """The command, on the bench's installation."""
    command = [*program(), *words]
    environment = ENVIRONMENT | {"CLOISON_ROOT": ground.engine.layout.root}
    return lambda: timed(command, environment)


# --- start -----------------------------------------------------------------------------------------------------------


def _starts(ground: Ground) -> Iterator[Row]:
    instance = ground.instance("start", *LIMITS)
    ours = _start(ground, instance)
    row = beyond_python(START, ours, ground.rounds(30), at_most_ms=MORE_MS)
    yield row
    if ground.is_quick or row.verdict == "skipped":
        return
    try:
        name = lxc.configure(ground, "start", ground.rootfs, limits=True)
        theirs = _lxc_start(ground, name)
        yield compared(START, "lxc-start", alternate(ours, theirs, ground.rounds(20), rest_s=QUIET_S))
    except Failed as problem:
        yield skipped(START, "lxc-start", str(problem))


def beyond_python(what: str, ours: Measure, rounds: int, *, at_most_ms: float) -> Row:
    """A whole process beside an interpreter that does nothing; the bar is the difference, which stands in the note."""
    peer = "python3 -c pass"
    try:
        pair = alternate(ours, lambda: timed([sys.executable, "-c", "pass"]), rounds, rest_s=QUIET_S)
    except Failed as problem:
        return skipped(what, peer, str(problem))
    return more_than(what, peer, pair, at_most_ms=at_most_ms)


def _start(ground: Ground, instance: cloison.Instance) -> Measure:
    command = cloison_command(ground, "start", instance.name)

    def measure() -> float:
        took = command()
        instance.stop(force=True)
        return took

    return measure


def _lxc_start(ground: Ground, name: str) -> Measure:
    command = lxc.command("lxc-start", ground, name)

    def measure() -> float:
        took = timed(command, lxc.ENVIRONMENT)
        lxc.stop(ground, name)
        return took

    return measure


# --- exec ------------------------------------------------------------------------------------------------------------


def _execs(ground: Ground) -> Iterator[Row]:
    instance = ground.instance("exec", *LIMITS)
    instance.start()
    ours = cloison_command(ground, "exec", instance.name, "--", "true")
    for name, prepare in EXECS.items():
        if ground.is_quick:
            return
        try:
            theirs = prepare(ground)
            pair = alternate(ours, theirs, ground.rounds(20), rest_s=QUIET_S)
        except Failed as problem:
            yield skipped(EXEC, name, str(problem))
            continue
        yield compared(EXEC, name, pair, at_most=1.0 if name == "docker exec" else None)


def _docker_exec(ground: Ground) -> Measure:
    client = docker.client(ground)
    output([*client, "run", "--detach", "--network=none", f"--name={ground.mark}", docker.IMAGE, *ENDLESS])
    return lambda: timed([*client, "exec", ground.mark, "true"])


def _podman_exec(ground: Ground) -> Measure:
    head = podman.command(ground)
    words = [*podman.run_words(ground), "--detach", f"--name={ground.mark}", "--rootfs", str(ground.rootfs), *ENDLESS]
    output([*head, *words])
    return lambda: timed([*head, "exec", ground.mark, "true"])


def _lxc_attach(ground: Ground) -> Measure:
    name = lxc.configure(ground, "exec", ground.rootfs, limits=True)
    output(lxc.command("lxc-start", ground, name), lxc.ENVIRONMENT)
    return lambda: timed(lxc.command("lxc-attach", ground, name, "--", "/bin/true"), lxc.ENVIRONMENT)


def _nsenter(ground: Ground) -> Measure:
    """The floor: into the namespaces of our own container, without its limits, filter and capabilities."""
    pid = str(ground.engine.get("exec").info().pid)
    command = [found("nsenter"), "--target", pid, "--all", "/bin/true"]
    return lambda: timed(command)


EXECS: dict[str, Callable[[Ground], Measure]] = {
    "docker exec": _docker_exec,
    "podman exec": _podman_exec,
    "lxc-attach": _lxc_attach,
    "nsenter": _nsenter,
}
