"""The container driver: what the engine calls to start, watch and end a container.

Every method names the instance by its id; nothing is remembered between calls, so any number of processes and
threads may use a driver at once. Who may change an instance at this moment is decided by `RunDir.command`.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Kernel, WrongState
from cloison.kernel import cgroup_world, cgroups, procfs
from cloison.kernel.cgroup_world import CgroupWorld
from cloison.plan.inputs import CgroupPlace
from cloison.plan.plan import Plan
from cloison.runtime import host, monitor, scope
from cloison.runtime.rundir import Keeper, RunDir
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
    Usage,
    Watch,
)
from cloison.spec.network import Interface, InterfaceState
from cloison.spec.oci import IdMapping, Mount

if TYPE_CHECKING:
    from cloison.kernel.file_door import FileDoor
    from cloison.runtime import execution, live_limits, relay

MONITOR_NAME = "cloison-monitor"  # what the launcher calls itself from the moment at which its init runs


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
        from cloison.runtime import starting

        return starting.plan(self.rundir(instance_id), self._places(instance_id), request, self._cache)

    def start(self, instance_id: str, request: StartRequest, watch: Watch | None = None) -> int:
        """Start the instance; gives the pid of its init as the host sees it.

        The caller holds `command`. Raises the errors of `failures`; then nothing is left of the attempt."""
        return scope.within(self._run, lambda: self._start(instance_id, request, watch))

    def _start(self, instance_id: str, request: StartRequest, watch: Watch | None) -> int:
        from cloison.runtime import starting

        plan = self.plan_start(instance_id, request)
        return starting.start(self.rundir(instance_id), plan, request, watch, self._data)

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
        from cloison.runtime import ending

        return ending.wait(self.rundir(instance_id), timeout_s)

    def request_stop(self, instance_id: str, number: int, timeout_s: float | None) -> bool:
        """Ask the init to shut down and wait for it on the same connection; False when that took too long."""
        from cloison.runtime import ending

        return ending.request_stop(self.rundir(instance_id), number, timeout_s)

    def kill(self, instance_id: str) -> Usage | None:
        """End every process of the instance now. Raises Kernel, naming those that cannot be killed.

        Gives what it had used where nobody has left a record of that: see `ending.kill`."""
        from cloison.runtime import ending

        return ending.kill(self.rundir(instance_id), lambda: self._places(instance_id))

    def repair(self, instance_id: str) -> bool:
        """Take back what a dead keeper left; True when there was something, False when there was nothing to do.

        Raises Kernel when the kernel does not let go of something."""
        from cloison.runtime import ending

        return ending.repair(self.rundir(instance_id))

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
        from cloison.runtime import execution

        return execution.plan(self._places(instance_id), request, self._cache)

    def execute(
        self, instance_id: str, request: ExecRequest, stdio: Stdio, watch: Watch | None = None
    ) -> "execution.Execution":
        """Run a command beside the init. `stdio` are its three streams where it has no terminal."""
        from cloison.runtime import execution

        plan = self.plan_exec(instance_id, request)
        with self._monitor(instance_id) as connection:
            pidfd = connection.pidfd()
        try:
            return execution.begin(plan, request, pidfd, stdio, watch)
        finally:
            os.close(pidfd)

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
