"""The end of a container: asked for, waited for, enforced; and what a dead keeper left, taken back.

A keeper is who holds the lock of a journal: the launcher, and after the start the monitor. Whoever can be asked is
asked over the monitor's socket; who does not answer is found by the journal that it has open.
"""

import contextlib
import os
import time
from collections.abc import Callable

from cloison.base.errors import Invalid, Kernel
from cloison.kernel import cgroups, procfs
from cloison.plan.inputs import CgroupPlace
from cloison.runtime import monitor
from cloison.runtime.rundir import Keeper, RunDir
from cloison.spec.driver import Observed, State, Usage

SIGKILL, SIGTERM = 9, 15
PYTHON_NAMES = ("python", "pytest")
KILL_PATIENCE_S = 1.0
KILL_TIMEOUT_S = 15.0  # the monitor itself gives its undo steps ten seconds each
LOOK_AGAIN_S = 0.005


def wait(rundir: RunDir, timeout_s: float | None) -> bool:
    """Wait until the instance has ended and everything is taken back; False when that took too long."""
    try:
        with monitor.connect(rundir.socket) as connection:
            return connection.wait(timeout_s) is not None
    except monitor.MonitorGone:
        return wait_for_keeper(rundir, timeout_s)


def wait_for_keeper(rundir: RunDir, timeout_s: float | None) -> bool:
    """A keeper without a socket is about to have one, or about to end: look again until it has ended."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while rundir.keeper() is Keeper.ALIVE:
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_AGAIN_S)
        with contextlib.suppress(monitor.MonitorGone), monitor.connect(rundir.socket) as connection:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            return connection.wait(left) is not None
    return True


def request_stop(rundir: RunDir, number: int, timeout_s: float | None) -> bool:
    """Ask the init to shut down and wait for it on the same connection; False when that took too long."""
    with monitor.connect(rundir.socket) as connection:
        connection.signal(number, is_stop=True)
        return _is_over(connection.wait(timeout_s))


def kill(rundir: RunDir, places: Callable[[], tuple[CgroupPlace, ...]]) -> Usage | None:
    """End every process of the instance now. Raises Kernel, naming those that cannot be killed.

    Where the init does not end of it, its monitor is told to kill everybody, whatever holds them: a freezer, say.
    A keeper that does not answer is killed itself, and what it leaves is taken back; then what the instance had
    used is given, since nobody has left a record of it. `places` says where its control groups are."""
    try:
        with monitor.connect(rundir.socket) as connection:
            connection.signal(SIGKILL, is_stop=True)
            if _is_over(connection.wait(KILL_PATIENCE_S)):
                return None
            with contextlib.suppress(ProcessLookupError):
                os.kill(connection.monitor_pid(), SIGTERM)
            if _is_over(connection.ended(KILL_TIMEOUT_S)):
                return None
    except (monitor.NoAnswer, monitor.MonitorGone):
        if wait_for_keeper(rundir, KILL_PATIENCE_S):
            return None
        if _kill_keeper(rundir):
            from cloison.runtime import readings

            used = readings.usage(readings.files(places()), Observed(State.STUCK))
            return used if repair(rundir) else None
    where = places()
    left = cgroups.members(where[-1].outer) if where else ()
    pids = ", ".join(str(pid) for pid in left) or "none to be seen"
    raise Kernel(
        f"it could not be ended within {KILL_TIMEOUT_S:.0f} s; processes left: {pids}",
        hint="a process in uninterruptible sleep (state D) waits for a disk or a network file system",
    )


def _is_over(ended: monitor.Ended | None) -> bool:
    """Whether the end has come. Raises Kernel where not everything could be taken back."""
    if ended is not None and not ended.is_clean:
        raise Kernel(
            "it has ended, and not everything could be taken back",
            hint="`cloison repair` says what is left, and tries again",
        )
    return ended is not None


def _kill_keeper(rundir: RunDir) -> bool:
    for pid in procfs.holders(os.path.realpath(rundir.journal)):
        name = procfs.comm(pid)
        if name == "cloison" or name.startswith(PYTHON_NAMES):
            continue  # a command that asks, or that starts it and will be told
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, SIGKILL)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while rundir.keeper() is Keeper.ALIVE and time.monotonic() < deadline:
        time.sleep(LOOK_AGAIN_S)
    return rundir.keeper() is not Keeper.ALIVE


def repair(rundir: RunDir) -> bool:
    """Take back what a dead keeper left; True when there was something, False when there was nothing to do.

    Raises Kernel when the kernel does not let go of something."""
    journal = rundir.take_over()
    if journal is None:
        if rundir.keeper() is Keeper.NONE:
            rundir.sweep()
        return False
    try:
        if not _undo(journal):
            os.unlink(rundir.journal)
    finally:
        os.close(journal)
    rundir.sweep()
    return True


def _undo(journal: int) -> bool:
    """Run the undo steps; False where there are none to be read. Raises Kernel."""
    from cloison.plan.codec import decode
    from cloison.plan.text import call
    from cloison.runtime import launcher

    os.lseek(journal, 0, os.SEEK_SET)
    try:
        _steps, undo = decode(os.read(journal, os.fstat(journal).st_size))
    except Invalid:
        return False  # it was cut off while it was written: no step of it was ever run
    failed: list[str] = []
    with launcher.launch(journal, name="cloison: undo", mode="--undo") as running:
        for report in running:
            if report.type == launcher.UNDO_FAILED:
                failed.append(f"{call(undo[report.index][0])}: {os.strerror(report.errno)}")
            elif report.type == launcher.UNDONE:
                break
        else:
            raise Kernel("the undo steps could not be run: the launcher died")
    if failed:
        raise Kernel("not everything could be taken back: " + "; ".join(failed), hint="try again later")
    return True
