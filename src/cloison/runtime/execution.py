"""A command that runs inside an instance: its plan, its terminal, its end."""

import contextlib
import os

from cloison.base.errors import Kernel
from cloison.kernel import procfs
from cloison.plan.execute import compile_exec
from cloison.plan.inputs import CgroupPlace
from cloison.plan.plan import Plan
from cloison.plan.process import namespace_flags
from cloison.runtime import host, launcher
from cloison.runtime.failures import failure
from cloison.runtime.seccomp import filter_for
from cloison.spec.driver import ExecRequest, Stdio, Watch

SIGKILL = 9
BEGIN_PATIENCE_S = 30.0  # from the first step to exec it is milliseconds; a guest must not be able to hold it up


def plan(places: tuple[CgroupPlace, ...], request: ExecRequest, cache: str) -> Plan:
    """The plan of a command beside the init, with nothing touched but the filters that are kept in `cache`."""
    seccomp = request.spec.linux.seccomp
    return compile_exec(
        f"exec in {request.name}",
        request.process,
        namespaces=namespace_flags(request.spec),
        is_privileged=not request.spec.linux.uid_mappings,
        places=places,
        host=host.limits(),
        seccomp=filter_for(seccomp, cache) if seccomp is not None else b"",
        winsize=request.winsize,
        argv0=request.argv0,
    )


def begin(plan: Plan, request: ExecRequest, pidfd: int, stdio: Stdio, watch: Watch | None) -> "Execution":
    """Run a plan of `plan` beside the init behind `pidfd`, which stays the caller's. Raises the errors of `failures`.

    `stdio` are the command's three streams where it has no terminal."""
    plan_fd = launcher.plan_in_memory(plan, verbose=watch is not None)
    try:
        started = launcher.launch(
            plan_fd,
            name=f"cloison: {request.name}: {request.process.args[0]}",
            stdio=stdio,
            inherited=(pidfd,),
            is_privileged=not request.spec.linux.uid_mappings,
        )
    finally:
        os.close(plan_fd)
    return Execution.begin(started, plan, watch)


class Execution:
    """A running command. A context manager: leaving it waits for the command to end.

    `pid` is the command's as the host sees it; `terminal` the master of its terminal (owned by this object), or -1."""

    def __init__(self, running: launcher.Launch, pid: int, terminal: int) -> None:
        self._running = running
        self.pid = pid
        self.terminal = terminal
        self._wait_status: int | None = None
        self._pidfd = procfs.pidfd(pid)  # none where it has ended already

    @classmethod
    def begin(cls, running: launcher.Launch, plan: Plan, watch: Watch | None) -> "Execution":
        """Follow the launcher until the command runs. Raises the errors of `failures`."""
        terminal = -1
        try:
            while (report := running.next(BEGIN_PATIENCE_S)) is not None:
                if report.type == launcher.STARTED:
                    return cls(running, report.value, terminal)
                if report.type == launcher.FD:
                    terminal = report.fd
                elif report.type == launcher.FAILED:
                    raise failure(plan, report.index, report.errno, report.value, report.said)
                elif report.type == launcher.INVALID:
                    raise launcher.refused(report, plan.title)
                elif watch is not None and report.type in (launcher.STEP, launcher.WARNING):
                    watch(launcher.step_done(plan, report))
            raise Kernel(f"cannot {plan.title}: the launcher died before it could report")
        except TimeoutError:
            os.kill(running.pid, SIGKILL)
            running.__exit__()
            raise Kernel(f"cannot {plan.title}: its first steps took longer than {BEGIN_PATIENCE_S:.0f} s") from None
        except BaseException:
            if terminal >= 0:
                os.close(terminal)
            running.__exit__()
            raise

    def __enter__(self) -> "Execution":
        return self

    def __exit__(self, *_: object) -> None:
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._running.__exit__()

    def fileno(self) -> int:
        """Readable when the command has ended."""
        return self._running.fileno()

    def wait(self, timeout_s: float | None = None) -> int:
        """The command's exit code, 128+n when signal n ended it. Raises TimeoutError."""
        if self._wait_status is None:
            while (report := self._running.next(timeout_s)) is not None:
                if report.type == launcher.EXITED:
                    self._wait_status = report.value
                    break
            else:
                self._wait_status = SIGKILL  # its launcher was killed, and the command with it
        return exit_code(self._wait_status)

    def signal(self, number: int) -> None:
        """Send the command a signal; one that has ended gets none."""
        import signal  # with its enumerations it takes longer than anything else here

        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)


def exit_code(wait_status: int) -> int:
    """The exit code a shell gives: the payload's own, or 128+n for signal n."""
    if os.WIFSIGNALED(wait_status):
        return 128 + os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status)
