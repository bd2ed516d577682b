"""A Debian 12 container, from start until `systemctl is-system-running` says so."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns

import cloison
from bench import lxc
from bench.ground import Ground
from bench.processes import ENVIRONMENT, Failed, found, output
from bench.series import Measure, Row, alternate, compared, skipped

WHAT = "Debian 12 with systemd, start to running"
IMAGE = "debian/12"
AT_MOST = 1.2
PATIENCE_S = 60
LOOK_AGAIN_S = 0.01
STATE = ("systemctl", "is-system-running")


def rows(ground: Ground) -> Iterator[Row]:
    """Both boot a root filesystem that has been booted once before."""
    if ground.is_quick:
        return
    try:
        image = ground.engine.image(IMAGE)
        rootfs = ground.made / "debian"
        output([found("cp"), "-a", image.layers[0], str(rootfs)], ENVIRONMENT)
        ours = _ours(ground.instance("system", image=IMAGE))
        theirs = _lxc(ground, rootfs)
        yield compared(WHAT, "lxc-start", alternate(ours, theirs, ground.rounds(6), rest_s=0.2), at_most=AT_MOST)
    except (Failed, cloison.CloisonError) as problem:
        yield skipped(WHAT, "lxc-start", str(problem))


def _ours(instance: cloison.Instance) -> Measure:
    def measure() -> float:
        began = perf_counter_ns()
        instance.start()
        _until_running(lambda: instance.exec(STATE).stdout.decode())
        took = (perf_counter_ns() - began) / 1e6
        instance.stop(force=True)
        return took

    return measure


def _lxc(ground: Ground, rootfs: Path) -> Measure:
    name = lxc.configure(ground, "system", rootfs)
    attach = lxc.command("lxc-attach", ground, name, "--", "/bin/systemctl", "is-system-running")

    def said() -> str:
        try:
            return output(attach, lxc.ENVIRONMENT)
        except Failed as problem:  # it exits with 1 until it says running
            return str(problem)

    def measure() -> float:
        began = perf_counter_ns()
        output(lxc.command("lxc-start", ground, name), lxc.ENVIRONMENT)
        _until_running(said)
        took = (perf_counter_ns() - began) / 1e6
        lxc.stop(ground, name)
        return took

    return measure


def _until_running(ask: Callable[[], str]) -> None:
    """Ask until the system is up. Raises Failed when it is up but not well, or not up in time."""
    deadline = time.monotonic() + PATIENCE_S
    while "running" not in (said := ask()):
        if "degraded" in said:
            raise Failed("the system is degraded")
        if time.monotonic() > deadline:
            raise Failed(f"not running after {PATIENCE_S} s: {said.strip()}")
        time.sleep(LOOK_AGAIN_S)
