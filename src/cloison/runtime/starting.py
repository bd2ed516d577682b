"""The start of a container: its plan, the launcher that carries it out, and what becomes of that.

Only by who holds `RunDir.command`.
"""

import contextlib
import os

from cloison.base.errors import CloisonError, Host, Kernel, Unsupported, WrongState
from cloison.plan.codec import encode
from cloison.plan.inputs import CgroupPlace, Places
from cloison.plan.plan import Plan
from cloison.plan.start import compile_start
from cloison.runtime import host, launcher
from cloison.runtime.failures import failure
from cloison.runtime.rundir import Keeper, RunDir
from cloison.runtime.seccomp import filter_for
from cloison.spec.driver import StartRequest, Watch

LOCK_PATIENCE_S = 1.0  # for the lock of a journal, which outlives its keeper's socket by a moment


def plan(rundir: RunDir, places: tuple[CgroupPlace, ...], request: StartRequest, cache: str) -> Plan:
    """The plan that `start` runs, with nothing touched but the filters that are kept in the directory `cache`."""
    seccomp, able = request.spec.linux.seccomp, host.limits()
    linux = request.spec.linux
    if linux.resources.unified or linux.resources.block_io is not None or linux.sysctl:
        from cloison.runtime import limits

        places = limits.with_weight_files(places, linux.resources)
        able = limits.with_parameters(able, request.spec)
    nft, interfaces = "", request.interfaces
    if interfaces:
        from cloison.runtime import lending, nics

        nft, interfaces = nics.nft(interfaces), lending.with_homes(interfaces)
    return compile_start(
        f"start {request.name}",
        request.spec,
        root=host.root(request.root),
        places=places,
        files=Places(rundir.path, rundir.journal, rundir.socket, request.log, request.log_size_bytes, request.record),
        host=able,
        seccomp=filter_for(seccomp, cache) if seccomp is not None else b"",
        writable=request.writable,
        reboot=request.reboot,
        alarm=request.alarm,
        at_end=host.aside(request.at_end) if request.at_end else (),
        interfaces=interfaces,
        is_loopback_up=request.is_loopback_up,
        nft=nft,
    )


def start(rundir: RunDir, plan: Plan, request: StartRequest, watch: Watch | None, data: str) -> int:
    """Carry a plan of `plan` out; gives the pid of the init as the host sees it.

    `data` is the directory of the installation's files. Raises the errors of `failures`; then nothing is left."""
    journal = rundir.write_journal(encode(plan, verbose=watch is not None))
    try:
        if any(each.nft_undo for each in request.interfaces):
            from cloison.runtime import nics

            nics.prepare(rundir, request.interfaces)
        is_privileged = not request.spec.linux.uid_mappings
        started = launcher.launch(journal, name=f"cloison: {request.name}", is_privileged=is_privileged)
    except BaseException:
        os.unlink(rundir.journal)
        rundir.sweep()
        raise
    finally:
        os.close(journal)
    try:
        with started:
            return _outcome_in_peace(started, plan, watch)
    except KeyboardInterrupt:
        from cloison.runtime import ending

        if rundir.keeper() is Keeper.DEAD:  # Ctrl-C reaches a launcher that has not left our terminal yet, too
            ending.repair(rundir)
        raise
    except WrongState:
        from cloison.runtime import ending

        ending.wait_for_keeper(rundir, LOCK_PATIENCE_S)
        raise
    except (Kernel, Unsupported) as problem:
        _explain(problem, request, data)
        raise


def _outcome_in_peace(running: launcher.Launch, plan: Plan, watch: Watch | None) -> int:
    """The outcome; who interrupts us waits for it, which takes milliseconds, unless they interrupt once more.

    A start that were left alone in its middle would go on, and could be neither stopped nor deleted meanwhile."""
    try:
        return _outcome(running, plan, watch)
    except KeyboardInterrupt:
        with contextlib.suppress(CloisonError):
            _outcome(running, plan, None)
        raise


def _outcome(running: launcher.Launch, plan: Plan, watch: Watch | None) -> int:
    failed: launcher.Report | None = None
    for report in running:
        if report.type == launcher.STARTED:
            return report.value
        if report.type == launcher.FAILED:
            failed = report  # the launcher now runs the undo steps: wait for its last word
        elif report.type == launcher.INVALID:
            raise launcher.refused(report, plan.title)
        elif watch is not None and report.type in (launcher.STEP, launcher.WARNING):
            watch(launcher.step_done(plan, report))
    if failed is not None:
        raise failure(plan, failed.index, failed.errno, failed.value, failed.said)
    raise WrongState(
        f"cannot {plan.title}: the launcher died before it could report", hint="`cloison repair` takes back what it did"
    )


def _explain(problem: Host, request: StartRequest, data: str) -> None:
    """Raise a better error where the host can start nothing of this kind; only a refused start pays for that."""
    from cloison.runtime.check import require_start
    from cloison.runtime.survey import host_facts

    try:
        require_start(host_facts(data), is_privileged=not request.spec.linux.uid_mappings)
    except Unsupported as better:
        raise better from problem
