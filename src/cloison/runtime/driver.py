"""The container driver: what the engine calls to start, watch and end a container.

Every method names the instance by its id; nothing is remembered between calls, so any number of processes and
threads may use a driver at once. Who may change an instance at this moment is decided by `RunDir.command`.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import CloisonError, Host, Invalid, Kernel, Unsupported, WrongState
from cloison.kernel import cgroup_world, cgroups, procfs
from cloison.kernel.cgroup_world import CgroupWorld
from cloison.plan.codec import decode, encode
from cloison.plan.inputs import CgroupPlace, Places
from cloison.plan.plan import Plan
from cloison.plan.text import call
from cloison.runtime import host, launcher, monitor, scope
from cloison.runtime.execution import Execution
from cloison.runtime.failures import failure
from cloison.runtime.rundir import Keeper, RunDir
from cloison.runtime.seccomp import filter_for
from cloison.spec.driver import (
    Account,
    ExecRequest,
    HostSize,
    LiveLimits,
    Observed,
    Reading,
    StartRequest,
    State,
    Stdio,
    StepDone,
    Usage,
    Watch,
)
from cloison.spec.network import Interface, InterfaceState
from cloison.spec.oci import IdMapping, Mount, Spec

if TYPE_CHECKING:
    from cloison.kernel.file_door import FileDoor
    from cloison.runtime import live_limits, relay

SIGKILL, SIGTERM = 9, 15
PYTHON_NAMES = ("python", "pytest")
MONITOR_NAME = "cloison-monitor"  # what the launcher calls itself from the moment at which its init runs
KILL_PATIENCE_S = 1.0
KILL_TIMEOUT_S = 15.0  # the monitor itself gives its undo steps ten seconds each
EXEC_FLAGS_OF_LATE = {"cgroup": 0x02000000, "time": 0x00000080}


class ContainerDriver:
    """Containers of this host, with their run directories below `run` and caches in `data`/cache."""

    def __init__(self, run: str, data: str) -> None:
        self._run = run
        self._data = data
        self._cache = f"{data}/cache"

    def rundir(self, instance_id: str) -> RunDir:
        """The run directory of an instance."""
        return RunDir(self._run, instance_id)

    def _places(self, instance_id: str, world: CgroupWorld | None = None) -> tuple[CgroupPlace, ...]:
        return host.places(instance_id, scope.path(self._run), world=world)

    @contextlib.contextmanager
    def command(self, instance_id: str, doing: str, *, timeout_s: float | None = 0.0) -> Iterator[None]:
        """Be the only command that changes this instance. Raises Busy."""
        with self.rundir(instance_id).command(doing, timeout_s=timeout_s):
            yield

    def forget(self, instance_id: str) -> None:
        """Remove the lock's file; only by who holds `command`, when the instance is deleted."""
        self.rundir(instance_id).forget()

    # --- start -------------------------------------------------------------------------------------------

    def plan_start(self, instance_id: str, request: StartRequest) -> Plan:
        """The plan that `start` would run, with nothing touched."""
        from cloison.plan.start import compile_start

        rundir = self.rundir(instance_id)
        seccomp = request.spec.linux.seccomp
        places, able = self._places(instance_id), host.limits()
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
            files=Places(
                rundir.path, rundir.journal, rundir.socket, request.log, request.log_size_bytes, request.record
            ),
            host=able,
            seccomp=filter_for(seccomp, self._cache) if seccomp is not None else b"",
            writable=request.writable,
            reboot=request.reboot,
            alarm=request.alarm,
            at_end=host.aside(request.at_end) if request.at_end else (),
            interfaces=interfaces,
            is_loopback_up=request.is_loopback_up,
            nft=nft,
        )

    def start(self, instance_id: str, request: StartRequest, watch: Watch | None = None) -> int:
        """Start the instance; gives the pid of its init as the host sees it.

        The caller holds `command`. Raises the errors of `failures`; then nothing is left of the attempt."""
        return scope.within(self._run, lambda: self._start(instance_id, request, watch))

    def _start(self, instance_id: str, request: StartRequest, watch: Watch | None) -> int:
        plan = self.plan_start(instance_id, request)
        rundir = self.rundir(instance_id)
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
            if rundir.keeper() is Keeper.DEAD:  # Ctrl-C reaches a launcher that has not left our terminal yet, too
                self.repair(instance_id)
            raise
        except WrongState:
            self._wait_for_keeper(instance_id, KILL_PATIENCE_S)  # its lock outlives its socket by a moment
            raise
        except (Kernel, Unsupported) as problem:
            self._explain(problem, request)
            raise

    def _explain(self, problem: Host, request: StartRequest) -> None:
        """Raise a better error where the host can start nothing of this kind; only a refused start pays for that."""
        from cloison.runtime.check import require_start
        from cloison.runtime.survey import host_facts

        try:
            require_start(host_facts(self._data), is_privileged=not request.spec.linux.uid_mappings)
        except Unsupported as better:
            raise better from problem

    def proc_views(self, *, is_needed: bool) -> tuple[tuple[str, str], ...]:
        """The files of lxcfs that can stand in the place of some of /proc and /sys: (host's, instance's), and none
        where it does not run. Raises Unsupported then, if it `is_needed`."""
        return host.proc_views(is_needed=is_needed)

    # --- watch -------------------------------------------------------------------------------------------

    def observe(self, instance_id: str) -> Observed:
        """What the instance is doing, from its journal's lock and its monitor: never from memory."""
        rundir = self.rundir(instance_id)
        match rundir.keeper():
            case Keeper.NONE:
                return Observed(State.STOPPED)
            case Keeper.DEAD:
                return Observed(State.STUCK, began_ns=rundir.began_ns())
            case _:
                began_ns = rundir.began_ns()  # before its monitor is asked: so it is of this run, or an earlier one
                return msgspec.structs.replace(self._observe_kept(instance_id), began_ns=began_ns)

    def _observe_kept(self, instance_id: str) -> Observed:
        """A keeper that does not answer is still on its way up, or already on its way down: nobody waits for it."""
        try:
            with self._monitor(instance_id) as connection:
                status = connection.status()
                if status is None:
                    pid = connection.monitor_pid()
                    is_monitor = procfs.comm(pid) == MONITOR_NAME
                    return Observed(State.STOPPING if is_monitor else State.STARTING, monitor_pid=pid)
        except monitor.NoAnswer:
            return Observed(State.STARTING)
        except monitor.MonitorGone:
            # Between journal and socket it starts; between the end of its init and that of the monitor it stops.
            has_socket = os.path.exists(self.rundir(instance_id).socket)
            return Observed(State.STOPPING if has_socket else State.STARTING)
        if status.is_stopping:
            return Observed(State.STOPPING, status.pid, status.monitor_pid)
        is_frozen = cgroups.is_frozen(host.directories(self._places(instance_id)))
        return Observed(State.FROZEN if is_frozen else State.RUNNING, status.pid, status.monitor_pid)

    def usage(self, instance_id: str, observed: Observed | None = None) -> Usage:
        """What the instance's control groups and its network have counted; `observed` saves to look for its pids."""
        from cloison.runtime import readings

        return readings.usage(readings.files(self._places(instance_id)), observed or self.observe(instance_id))

    def usages(self, instance_ids: Iterable[str]) -> dict[str, Usage]:
        """The usage of many at once; of those that do not run nothing is known."""
        return {name: reading.usage for name, reading in self.readings(instance_ids).items()}

    def readings(self, instance_ids: Iterable[str]) -> dict[str, Reading]:
        """What each of them does and has used: this host's cgroup world is looked at once for all."""
        from cloison.runtime import readings

        rundirs = {name: self.rundir(name) for name in instance_ids}
        if not rundirs:
            return {}
        world, first = cgroup_world.detect(), next(iter(rundirs))
        pattern = readings.files(self._places(first, world))
        are_alike = not scope.path(self._run)  # some of a systemd host's may be from before it was asked for a scope

        def where(name: str) -> readings.Files:
            return pattern.of_another(first, name) if are_alike else readings.files(self._places(name, world))

        return readings.readings(rundirs, self.observe, where)

    def recorded_usage(self, record: bytes) -> Usage:
        """What an instance had used when it ended, from the record that its monitor wrote beside the exit record."""
        from cloison.runtime import readings

        return readings.recorded(record)

    def addresses(self) -> tuple[str, ...]:
        """The addresses of the host, which is what an instance on the host's network has."""
        from cloison.kernel import rtnetlink

        return rtnetlink.addresses()

    def _monitor(self, instance_id: str) -> monitor.Connection:
        return monitor.connect(self.rundir(instance_id).socket)

    # --- end ---------------------------------------------------------------------------------------------

    def signal(self, instance_id: str, number: int, *, is_stop: bool = False) -> None:
        """Send the init a signal. Raises WrongState when nothing runs."""
        with self._monitor(instance_id) as connection:
            error = connection.signal(number, is_stop=is_stop)
        if error:
            raise Kernel(f"signal {number} could not be sent: {os.strerror(error)}")

    def signal_all(self, instance_id: str, name: str, number: int) -> None:
        """Send every process of a running instance a signal. Raises Kernel."""
        from cloison.runtime.killing import kill_all

        kill_all(self._places(instance_id), name, number)

    def wait(self, instance_id: str, timeout_s: float | None = None) -> bool:
        """Wait until the instance has ended and everything is taken back; False when that took too long."""
        try:
            with self._monitor(instance_id) as connection:
                return connection.wait(timeout_s) is not None
        except monitor.MonitorGone:
            return self._wait_for_keeper(instance_id, timeout_s)

    def _wait_for_keeper(self, instance_id: str, timeout_s: float | None) -> bool:
        """A keeper without a socket is about to have one, or about to end: look again until it has ended."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.rundir(instance_id).keeper() is Keeper.ALIVE:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
            with contextlib.suppress(monitor.MonitorGone), self._monitor(instance_id) as connection:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                return connection.wait(left) is not None
        return True

    def request_stop(self, instance_id: str, number: int, timeout_s: float | None) -> bool:
        """Ask the init to shut down and wait for it on the same connection; False when that took too long."""
        with self._monitor(instance_id) as connection:
            connection.signal(number, is_stop=True)
            return _is_over(connection.wait(timeout_s))

    def kill(self, instance_id: str) -> Usage | None:
        """End every process of the instance now. Raises Kernel, naming those that cannot be killed.

        Where the init does not end of it, its monitor is told to kill everybody, whatever holds them: a freezer, say.
        A keeper that does not answer is killed itself, and what it leaves is taken back; then what the instance had
        used is given, since nobody has left a record of it."""
        try:
            with self._monitor(instance_id) as connection:
                connection.signal(SIGKILL, is_stop=True)
                if _is_over(connection.wait(KILL_PATIENCE_S)):
                    return None
                with contextlib.suppress(ProcessLookupError):
                    os.kill(connection.monitor_pid(), SIGTERM)
                if _is_over(connection.ended(KILL_TIMEOUT_S)):
                    return None
        except (monitor.NoAnswer, monitor.MonitorGone):
            if self._wait_for_keeper(instance_id, KILL_PATIENCE_S):
                return None
            if self._kill_keeper(instance_id):
                used = self.usage(instance_id, Observed(State.STUCK))
                return used if self.repair(instance_id) else None
        places = self._places(instance_id)
        left = cgroups.members(places[-1].outer) if places else ()
        pids = ", ".join(str(pid) for pid in left) or "none to be seen"
        raise Kernel(
            f"it could not be ended within {KILL_TIMEOUT_S:.0f} s; processes left: {pids}",
            hint="a process in uninterruptible sleep (state D) waits for a disk or a network file system",
        )

    def _kill_keeper(self, instance_id: str) -> bool:
        rundir = self.rundir(instance_id)
        for pid in procfs.holders(os.path.realpath(rundir.journal)):
            name = procfs.comm(pid)
            if name == "cloison" or name.startswith(PYTHON_NAMES):
                continue  # a command that asks, or that starts it and will be told
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while rundir.keeper() is Keeper.ALIVE and time.monotonic() < deadline:
            time.sleep(0.005)
        return rundir.keeper() is not Keeper.ALIVE

    def repair(self, instance_id: str) -> bool:
        """Take back what a dead keeper left; True when there was something, False when there was nothing to do.

        Raises Kernel when the kernel does not let go of something."""
        rundir = self.rundir(instance_id)
        journal = rundir.take_over()
        if journal is None:
            if rundir.keeper() is Keeper.NONE:
                rundir.sweep()
            return False
        try:
            if not self._undo(journal):
                os.unlink(rundir.journal)
        finally:
            os.close(journal)
        rundir.sweep()
        return True

    def _undo(self, journal: int) -> bool:
        """Run the undo steps; False where there are none to be read. Raises Kernel."""
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

    # --- freezing ----------------------------------------------------------------------------------------

    def freeze(self, instance_id: str, name: str) -> None:
        """Let no process of the instance run any further. Raises Kernel; then all run on."""
        from cloison.runtime import freezing

        freezing.freeze(self._places(instance_id), name)

    def thaw(self, instance_id: str, name: str) -> None:
        """Let all of them go on."""
        from cloison.runtime import freezing

        freezing.thaw(self._places(instance_id), name)

    def sync(self, pid: int) -> None:
        """Have on the disk what the instance has written so far; `pid` is that of its init."""
        from cloison.kernel import files

        files.settle_root(pid)

    # --- inside ------------------------------------------------------------------------------------------

    def plan_exec(self, instance_id: str, request: ExecRequest) -> Plan:
        """The plan that `execute` would run, with nothing touched."""
        from cloison.plan.execute import compile_exec

        spec = request.spec
        seccomp = spec.linux.seccomp
        return compile_exec(
            f"exec in {request.name}",
            request.process,
            namespaces=_namespaces(spec),
            is_privileged=not spec.linux.uid_mappings,
            places=self._places(instance_id),
            host=host.limits(),
            seccomp=filter_for(seccomp, self._cache) if seccomp is not None else b"",
            winsize=request.winsize,
            argv0=request.argv0,
        )

    def execute(
        self,
        instance_id: str,
        request: ExecRequest,
        stdio: Stdio,
        watch: Watch | None = None,
    ) -> Execution:
        """Run a command beside the init. `stdio` are its three streams where it has no terminal."""
        plan = self.plan_exec(instance_id, request)
        with self._monitor(instance_id) as connection:
            pidfd = connection.pidfd()
        plan_fd = -1
        try:
            plan_fd = launcher.plan_in_memory(plan, verbose=watch is not None)
            started = launcher.launch(
                plan_fd,
                name=f"cloison: {request.name}: {request.process.args[0]}",
                stdio=stdio,
                inherited=(pidfd,),
                is_privileged=not request.spec.linux.uid_mappings,
            )
        finally:
            os.close(pidfd)
            if plan_fd >= 0:
                os.close(plan_fd)
        return Execution.begin(started, plan, watch)

    def run_here(self, run: "relay.Run", *, on_terminal: bool) -> int:
        """Run a command on the caller's terminal or streams; gives its exit code. Main thread only."""
        from cloison.runtime import relay

        if not on_terminal:
            return relay.on_streams(run)
        with run(()) as execution:
            return relay.on_terminal(execution)

    def window(self) -> tuple[int, int]:
        """(rows, columns) of the caller's terminal."""
        from cloison.kernel import terminal

        return terminal.size(0)

    def keys(self) -> AbstractContextManager[Callable[[float], str]]:
        """The keys that are typed on the caller's terminal, one at a time: see `kernel.terminal.keys`."""
        from cloison.kernel import terminal

        return terminal.keys(0)

    def account(self, pid: int, user: str) -> Account:
        """A user of the instance whose init is `pid`. Raises Invalid."""
        from cloison.runtime import accounts

        return accounts.account(pid, user)

    def show_console(self, instance_id: str, log: str, connected: Callable[[], None] | None = None) -> None:
        """The console on the caller's terminal, what it has shown before first. Raises WrongState."""
        from cloison.runtime import relay

        with self._monitor(instance_id) as connection:
            shown = connection.attach_console()
            if connected is not None:
                connected()
            has_left = relay.on_console(connection, relay.tail(log, shown))
        if not has_left and self.observe(instance_id).state is State.RUNNING:
            raise WrongState(
                "it showed more than was read, and the connection was let go",
                hint="connect again; `cloison logs` has all of it",
            )

    @contextlib.contextmanager
    def files(self, instance_id: str, *, is_privileged: bool) -> "Iterator[FileDoor]":
        """The files of a running instance, as its root sees them. Raises WrongState."""
        from cloison.kernel import file_door

        with self._monitor(instance_id) as connection:
            pidfd = connection.pidfd()
        try:
            with file_door.into(pidfd, is_privileged=is_privileged) as door:
                yield door
        finally:
            os.close(pidfd)

    def edit(self, argv: Sequence[str]) -> int:
        """Run a program of the host on the caller's terminal; gives its exit code. Main thread only."""
        from cloison.kernel import process

        return process.run_here(argv)

    def interfaces(self, pid: int) -> tuple[InterfaceState, ...]:
        """The interfaces of a process but for the loopback, by index; none when it has ended."""
        from cloison.runtime import interfaces

        return interfaces.interfaces(pid)

    # --- limits ------------------------------------------------------------------------------------------

    def carry_out(self, plan: Plan) -> None:
        """Run a plan of host steps to its end; taken back when one fails. Raises the errors of `failures`."""
        from cloison.runtime import host_steps

        scope.within(self._run, lambda: host_steps.run(plan))

    def places(self) -> tuple[CgroupPlace, ...]:
        """Where the control groups are of what is of no instance."""
        return self._places("networks")

    def set_limits(self, instance_id: str, name: str, before: LiveLimits, after: LiveLimits) -> None:
        """Change the limits of a running instance, all or none of them. Raises Unsupported, Invalid, Kernel."""
        from cloison.runtime import live_limits

        live_limits.set_limits(self._places(instance_id), name, before, after, lambda: self._kept(instance_id))

    @contextlib.contextmanager
    def _kept(self, instance_id: str) -> "Iterator[live_limits.Kept]":
        from cloison.runtime.live_limits import Kept

        with self._monitor(instance_id) as connection:
            pidfd = connection.pidfd()
            try:
                status = connection.status()
                if status is None:
                    raise WrongState("its monitor does not answer: it is starting or ending")
                yield Kept(status.pid, status.monitor_pid, pidfd)
            finally:
                os.close(pidfd)

    def attach_interface(self, instance_id: str, name: str, interface: Interface) -> None:
        """Give a running instance one more interface, or leave it as it was.

        The caller holds `command`. Raises WrongState and the errors of `failures`."""
        from cloison.runtime import nics

        with self._kept(instance_id) as kept:
            nics.attach(self.rundir(instance_id), name, interface, kept)

    def detach_interface(self, instance_id: str, name: str, interface: Interface) -> None:
        """Take an interface from a running instance; `interface` is as it was when it came.

        The caller holds `command`. Raises the errors of `failures`; then it can be tried again."""
        from cloison.runtime import nics

        nics.detach(self.rundir(instance_id), name, interface)

    def change_rules(self, instance_id: str, name: str, before: Interface, after: Interface) -> None:
        """Give an interface of a running instance other packet rules, rates and isolation, or leave it what it has.

        The caller holds `command`. Raises WrongState and the errors of `failures`."""
        from cloison.runtime import nics

        nics.change_rules(self.rundir(instance_id), name, before, after)

    def attach_mount(self, instance_id: str, name: str, mount: Mount, mappings: tuple[IdMapping, ...]) -> None:
        """Give a running instance one more mount; `mappings` are those of its user namespace, () where it has none.

        The caller holds `command`. Raises WrongState, Conflict and the errors of `failures`."""
        from cloison.runtime import mounts

        with self._kept(instance_id) as kept:
            mounts.attach(kept, name, mount, mappings)

    def detach_mount(
        self, instance_id: str, name: str, mount: Mount, mappings: tuple[IdMapping, ...], *, is_forced: bool = False
    ) -> None:
        """Take a mount from a running instance. The caller holds `command`. Raises Busy, Conflict."""
        from cloison.runtime import mounts

        with self._kept(instance_id) as kept:
            places = self._places(instance_id)
            mounts.detach(
                kept, name, mount, mappings, members=lambda: cgroups.members(places[-1].outer), is_forced=is_forced
            )

    def check_limits(self, instance_id: str, wanted: LiveLimits) -> None:
        """Raise Unsupported or Invalid for a limit that this host cannot express. The instance is not touched."""
        from cloison.runtime import limits

        with scope.held(self._run):
            limits.check(self._places(f"{instance_id}-{os.getpid()}"), wanted)

    def host_size(self) -> HostSize:
        """What there is to be limited on this host."""
        from cloison.runtime import limits

        return limits.host_size()

    def block_device(self, name: str) -> tuple[int, int]:
        """The numbers of the whole disk that a device or a path is or is on. Raises Invalid."""
        from cloison.runtime import limits

        return limits.block_device(name)


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
            watch(step_done(plan, report))
    if failed is not None:
        raise failure(plan, failed.index, failed.errno, failed.value, failed.said)
    raise WrongState(
        f"cannot {plan.title}: the launcher died before it could report", hint="`cloison repair` takes back what it did"
    )


def _is_over(ended: monitor.Ended | None) -> bool:
    """Whether the end has come. Raises Kernel where not everything could be taken back."""
    if ended is not None and not ended.is_clean:
        raise Kernel(
            "it has ended, and not everything could be taken back",
            hint="`cloison repair` says what is left, and tries again",
        )
    return ended is not None


def step_done(plan: Plan, report: launcher.Report) -> StepDone:
    """A report of a step, with its text."""
    warning = os.strerror(report.errno) if report.type == launcher.WARNING else ""
    return StepDone(report.index, call(plan.actions[report.index].step), report.monotonic_ns, warning)


def _namespaces(spec: Spec) -> int:
    from cloison.plan.start import clone_flags

    late = {namespace.type for namespace in spec.linux.namespaces}
    return clone_flags(spec) | sum(flag for kind, flag in EXEC_FLAGS_OF_LATE.items() if kind in late)
