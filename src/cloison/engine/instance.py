"""One instance: what can be done with it.

Commands that change it hold its lock (see `cloison.runtime.rundir`); questions and signals take none. A `stop` waits
for the guest, and so holds no lock either: a second, forced one can always overtake it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from cloison.base.disk import full_disk_named
from cloison.base.errors import Busy, CloisonError, Invalid, NotFound, WrongState
from cloison.base.ids import check_name
from cloison.base.signals import signal_number
from cloison.engine import records, remains
from cloison.engine.records import Record, tree_of
from cloison.plan.plan import Plan
from cloison.spec import config as configuration
from cloison.spec.driver import ExecRequest, Observed, Running, State, Stdio, Watch
from cloison.storage.driver import Tree

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.files import Files
    from cloison.engine.mounts import Mounts
    from cloison.engine.nics import Nics, Ports, Words
    from cloison.engine.results import Change, ExecResult, Info, NicInfo
    from cloison.engine.snapshots import Snapshots

LOCK_PATIENCE_S = 5.0
KEPT_STATES = (State.STARTING, State.RUNNING, State.FROZEN, State.STOPPING)


class Instance:
    """The instance behind a record. Made by `Engine`; cheap, and holds nothing open."""

    def __init__(self, engine: "Engine", record: Record) -> None:
        self._engine = engine
        self._record = record

    @property
    def name(self) -> str:
        """What it is called, and its host name; `rename` changes it."""
        return self._record.name

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits, which stay the same when it gets another name."""
        return self._record.id

    @property
    def directory(self) -> str:
        """Where its console's log and the record of its end are on the host."""
        return self._engine.layout.instance(self.id)

    @property
    def tree(self) -> Tree:
        """Its own files, in their storage pool."""
        return tree_of(self._record)

    @property
    def record(self) -> Record:
        """What the store keeps of it, as it was read last."""
        return self._record

    def __repr__(self) -> str:
        return f"<cloison instance {self.name!r} ({self.id})>"

    # --- look --------------------------------------------------------------------------------------------

    def observe(self) -> Observed:
        """Its state and pids, now."""
        return self._engine.driver.observe(self.id)

    @property
    def state(self) -> State:
        """What it is doing, now: asked of the host, and not remembered."""
        return self.observe().state

    def info(self, *, with_disk: bool = False) -> "Info":
        """All there is to know; `with_disk` also measures its files, which takes as long as there are many."""
        from cloison.engine import inspection

        self.reload()
        self._settle()
        return inspection.info(self._engine, self._record, with_disk=with_disk)

    def nic_infos(self) -> "tuple[NicInfo, ...]":
        """Its nics as they are now, with what they have counted."""
        from cloison.engine import nic_inspection

        self.reload()
        return nic_inspection.nics(self._engine, self._record, self.observe().pid)

    def get(self, key: str) -> str:
        """One key of its configuration as text; empty for what is not set. Raises Invalid."""
        self.reload()
        return configuration.value_of(self._record.config, key)

    @property
    def config(self) -> configuration.Config:
        """Its configuration."""
        return self._record.config

    @property
    def mounts(self) -> "Mounts":
        """What is mounted in it besides its own."""
        from cloison.engine.mounts import Mounts

        return Mounts(self, self._engine)

    @property
    def files(self) -> "Files":
        """Its files, as they are seen inside."""
        from cloison.engine.files import Files

        return Files(self, self._engine, self.command)

    def reload(self) -> None:
        """Read its record again. Raises NotFound when it has been deleted."""
        self._record = records.load(self._engine.store, self.id)

    def logs(self) -> bytes:
        """What its console has shown and still is kept, the older file first."""
        return b"".join(_read(path) for path in (f"{self.log_path()}.1", self.log_path()))

    def log_path(self) -> str:
        """The file that its console is written to; rotated to the same name with `.1`."""
        return f"{self.directory}/console.log"

    # --- start and end -----------------------------------------------------------------------------------

    def start(self, *, watch: Watch | None = None) -> None:
        """Start it. Raises WrongState when it runs already, and whatever keeps it from starting."""
        with self.command("start"):
            self._start(watch)

    def _start(self, watch: Watch | None = None) -> None:
        from cloison.engine import starting

        self.expect_stopped("start")
        self.adopted()
        self._settle()
        self._record = starting.start(self._engine, self._record, watch)

    def stop(self, *, timeout_s: float | None = None, force: bool = False) -> None:
        """Ask its init to shut down; when that takes longer than `timeout_s` (default: boot.stop_timeout_s), or at
        once with `force`, kill it. Returns when everything is taken back, and an ephemeral one is deleted. Raises
        WrongState when it is not running."""
        with self._engine.freeing():
            self._stop(timeout_s=timeout_s, force=force)
            self.end_if_over(timeout_s=LOCK_PATIENCE_S)

    def stop_to_start(self, *, timeout_s: float | None = None, force: bool = False) -> None:
        """The same, where it is to be started again: an ephemeral one is not deleted."""
        self._engine.store.record(self.id, "restarting")
        self._stop(timeout_s=timeout_s, force=force)

    def end_if_over(self, *, timeout_s: float) -> bool:
        """Delete it, if it is ephemeral and has ended; whether it was. Its monitor asks for it at the end, and so does
        `repair`."""
        try:
            self.reload()
        except NotFound:
            return False
        if not self._record.is_last_run:
            return False
        from cloison.engine import deleting

        return deleting.end(self._engine, self, timeout_s=timeout_s)

    def _stop(self, *, timeout_s: float | None, force: bool) -> None:
        from cloison.engine import stopping

        self._let_start_finish("stop", is_forced=force)
        stopping.stop(self._engine, self._record, timeout_s=timeout_s, force=force)

    def _settle(self) -> None:
        """Book what its last run has used, where nobody has."""
        if remains.has_left_usage(self.directory):
            from cloison.engine import accounting

            accounting.settle(self._engine, self._record)

    def kill(self, signal: str | int = "SIGKILL", *, is_whole_tree: bool = False) -> None:
        """Send its init a signal, by name or number; with `is_whole_tree` every process of it, commands that run inside
        included. Raises Invalid, and WrongState when it is not running."""
        number = signal_number(str(signal))
        if number is None:
            raise Invalid(f"{signal!r} is no signal; write a name or a number, such as SIGHUP")
        self._expect_running("be sent a signal")
        with self._worded("be sent a signal"):
            if is_whole_tree:
                self._engine.driver.signal_all(self.id, self.name, number)
            else:
                self._engine.driver.signal(self.id, number)

    def restart(self, *, timeout_s: float | None = None, force: bool = False, watch: Watch | None = None) -> None:
        """Stop it and start it again; one that is stopped is just started."""
        if self.state is not State.STOPPED:
            self.stop_to_start(timeout_s=timeout_s, force=force)
        self.start(watch=watch)

    def freeze(self) -> None:
        """Let none of its processes run any further. Raises WrongState when it is not running, Kernel when they cannot
        all be held; then all of them run on."""
        with self.command("freeze"):
            if self.state is not State.RUNNING:
                raise self._not_running("be frozen", self.state)
            self._engine.driver.freeze(self.id, self.name)
            self._engine.store.record(self.id, "frozen")

    def unfreeze(self) -> None:
        """Let them go on. Raises WrongState when it is not frozen."""
        with self.command("unfreeze"):
            state = self.state
            if state is not State.FROZEN:
                raise WrongState(f"{self.name!r} is not frozen: it is {state}", state=str(state))
            self._engine.driver.thaw(self.id, self.name)
            self._engine.store.record(self.id, "unfrozen")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended and everything is taken back; False when that took longer than `timeout_s`."""
        return self._engine.driver.wait(self.id, timeout_s)

    def after_reboot(self) -> None:
        """What its monitor asks for when it has rebooted itself: start it again with its present configuration."""
        from cloison.engine import stopping

        with self.command("start after a reboot", timeout_s=60):
            if self.state is State.STOPPED and not stopping.is_told_to_stop(self._engine, self._record):
                self._engine.store.record(self.id, "rebooted")
                self._start()

    def repair(self) -> bool:
        """Take back what a dead launcher or monitor left; False when there was nothing."""
        was_halfway = self._is_left_halfway()
        with self._engine.freeing(), self.command("repair"):
            return self._repair() or self._is_noted_now() or was_halfway

    def after_alarm(self) -> None:
        """What its monitor asks for when the kernel is short of memory for it: count whom that has killed."""
        from cloison.engine import accounting

        accounting.after_alarm(self._engine, self._record)

    def _is_noted_now(self) -> bool:
        """Note that it has been started, where whoever started it died before that."""
        observed = self.observe()
        if not observed.pid or self._record.started_ns >= observed.began_ns:
            return False
        from cloison.engine import starting

        self._record = starting.noted(self._engine, self._record)
        return True

    def _repair(self) -> bool:
        observed = self.observe()
        unrecorded = self._engine.driver.usage(self.id, observed) if observed.state is State.STUCK else None
        repaired = self._engine.driver.repair(self.id)
        self._settle()
        if repaired:
            from cloison.engine import accounting

            with self._engine.store.transaction() as changes:
                if unrecorded is not None:
                    accounting.book_death(changes, self._record, observed.began_ns, unrecorded)
                changes.record(self.id, "repaired")
        return repaired

    # --- change ------------------------------------------------------------------------------------------

    def set(self, *assignments: str, scope: str = "both") -> "Change":
        """Apply `key=value` assignments, all or none: to the stored configuration, and to the running instance what
        can be changed live. `scope` is "both", "live" (only what runs) or "next-start" (only what is stored).

        Raises Invalid for what cannot be, Unsupported for what this host cannot, Kernel for what the kernel refuses
        now, WrongState for "live" where nothing runs; then nothing has changed."""
        return self.change(lambda _configs: assignments, scope=scope)

    def change(self, words: "Words", *, scope: str = "both") -> "Change":
        """Apply the assignments that `words` makes of the configurations that are to be changed, as `set` does."""
        from cloison.engine import changing, setting

        chosen = changing.Scope.of(scope)
        with self.command("set"):
            observed = self.observe()
            try:
                return setting.change(self._engine, self, observed, words, chosen)
            except CloisonError:
                if not observed.pid or self.observe().pid == observed.pid:
                    raise
            # It ended meanwhile, and the files that were to be written went with it: nothing of it runs any more.
            self._engine.driver.wait(self.id, LOCK_PATIENCE_S)
            return setting.change(self._engine, self, self.observe(), words, chosen)

    def configs(self) -> tuple[configuration.Config, configuration.Config | None]:
        """What is stored, and what is in force: None where it does not run."""
        self.reload()
        return self._record.config, self._record.in_force if self.observe().pid else None

    @property
    def nics(self) -> "Nics":
        """Its network interfaces."""
        from cloison.engine.nics import Nics

        return Nics(self)

    @property
    def snapshots(self) -> "Snapshots":
        """What it was at other times."""
        from cloison.engine.snapshots import Snapshots

        return Snapshots(self._engine, self)

    @property
    def ports(self) -> "Ports":
        """The ports of the host that lead to it."""
        from cloison.engine.nics import Ports

        return Ports(self)

    def rename(self, new_name: str) -> None:
        """Give it another name. Raises Invalid, Exists, and WrongState while it is running."""
        check_name(new_name)
        with self.command("rename"):
            self.expect_stopped("be renamed")
            self.adopted()
            renamed = msgspec.structs.replace(self._record, name=new_name, is_renamed=True)
            with self._engine.store.transaction() as changes:
                records.claim_name(changes, new_name, self.id)
                changes.delete(f"names/{self.name}")
                records.save(changes, renamed)
                changes.record(self.id, "renamed", f"{self.name} {new_name}")
            self._record = renamed
            from cloison.engine import identity

            self._record = identity.introduce(self._engine, renamed)

    def delete(self, *, force: bool = False) -> None:
        """Delete it with all its files; a running one only with `force`. Raises WrongState."""
        from cloison.engine import deleting

        with self._engine.freeing():
            if force and self.state in KEPT_STATES:
                with contextlib.suppress(WrongState):
                    self.stop(force=True)
            with self.command("delete"):
                self.expect_stopped("be deleted", hint="stop it first, or use --force")
                deleting.delete(self._engine, self._record)
            deleting.tell(self._engine, self._record)

    # --- explain -----------------------------------------------------------------------------------------

    def explain(self) -> Plan:
        """The plan that a start would run now. Nothing is touched."""
        from cloison.engine import starting

        self.reload()
        return self._engine.driver.plan_start(self.id, starting.request(self._engine, self._record, is_dry=True))

    def explain_exec(self, argv: Sequence[str], *, tty: bool = False) -> Plan:
        """The plan that would run `argv` inside. Nothing is touched."""
        self.reload()
        return self._engine.driver.plan_exec(self.id, self._exec_request(argv, terminal=tty))

    # --- inside ------------------------------------------------------------------------------------------

    def exec(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        timeout_s: float | None = None,
    ) -> "ExecResult":
        """Run a command inside and collect what it writes; streams stay apart and untouched. Raises WrongState when
        the instance is not running, NotFound or Invalid for a command that cannot be run, TimeoutError (the command
        is then killed)."""
        from cloison.engine.collecting import collect

        request = self._exec_request(argv, env=env, cwd=cwd, user=user)
        return collect(lambda stdio: self._execute(request, stdio), input, timeout_s)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        stdio: Stdio = (),
        tty: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        winsize: tuple[int, int] = (24, 80),
        watch: Watch | None = None,
    ) -> Running:
        """Start a command inside: on the descriptors `stdio`, or with `tty` on a terminal of the instance."""
        request = self._exec_request(argv, env=env, cwd=cwd, user=user, terminal=tty, winsize=winsize)
        return self._execute(request, stdio, watch)

    def exec_here(
        self,
        argv: Sequence[str],
        *,
        tty: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        watch: Watch | None = None,
    ) -> int:
        """Run a command inside on the caller's own streams or terminal; gives its exit code. Main thread only."""
        driver = self._engine.driver
        winsize = driver.window() if tty else (24, 80)
        request = self._exec_request(argv, env=env, cwd=cwd, user=user, terminal=tty, winsize=winsize)
        return driver.run_here(lambda stdio: self._execute(request, stdio, watch), on_terminal=tty)

    def shell(self) -> int:
        """A login shell of the instance's root on the caller's terminal; gives its exit code."""
        driver = self._engine.driver
        root = driver.account(self._expect_running("give a shell"), "root")
        is_terminal = os.isatty(0) and os.isatty(1)
        request = self._exec_request((root.shell,), cwd=root.home, terminal=is_terminal, winsize=driver.window())
        request = msgspec.structs.replace(request, argv0="-" + root.shell.rsplit("/", 1)[-1])
        return driver.run_here(lambda stdio: self._execute(request, stdio), on_terminal=is_terminal)

    def console(self, connected: Callable[[], None] | None = None) -> None:
        """Its console on the caller's terminal, until it ends or the user types Ctrl-a q.

        `connected` is called once the console is there, before it is shown."""
        self._expect_running("show its console")
        with self._worded("show its console"):
            self._engine.driver.show_console(self.id, self.log_path(), connected)

    # --- within ------------------------------------------------------------------------------------------

    def _execute(self, request: ExecRequest, stdio: Stdio, watch: Watch | None = None) -> Running:
        state = self.observe().state
        if state is State.FROZEN:
            raise WrongState(f"{self.name!r} is frozen: nothing can run inside", hint=f"cloison unfreeze {self.name}")
        if state not in (State.RUNNING, State.STOPPING):  # whoever shuts down slowly can be looked into
            raise self._not_running("run a command", state)
        with self._worded("run a command"):
            return self._engine.driver.execute(self.id, request, stdio, watch)

    @contextlib.contextmanager
    def _worded(self, doing: str) -> Iterator[None]:
        """A monitor that ended just now is an instance that is not running."""
        try:
            yield
        except WrongState as problem:
            if problem.code != "monitor-gone":
                raise
            raise self._not_running(doing, State.STOPPED) from problem

    def _not_running(self, doing: str, state: State) -> WrongState:
        hints = {State.STOPPED: "cloison start", State.FROZEN: "cloison unfreeze", State.STUCK: "cloison repair"}
        hint = f"{hints[state]} {self.name}" if state in hints else "wait for that to be over"
        return WrongState(f"{self.name!r} cannot {doing}: it is {state}", hint=hint, state=str(state))

    @contextlib.contextmanager
    def command(self, doing: str, *, timeout_s: float = LOCK_PATIENCE_S) -> Iterator[None]:
        """Be the only one to change it; its record is the present one."""
        with (
            full_disk_named(self._engine.layout.data),
            self._engine.driver.command(self.id, doing, timeout_s=timeout_s),
        ):
            try:
                self.reload()
            except NotFound:
                self._engine.driver.forget(self.id)
                raise NotFound(f"the instance {self.name!r} has just been deleted", name=self.name) from None
            if self._is_left_halfway():
                from cloison.engine import holding, live_nics, rewiring

                holding.release(self._engine, self._record)
                rewiring.settle(self._engine, self._record, live_nics.take_back)
            before = self._record
            yield
        if before.stands_for != self._record.stands_for:
            self._engine.names_changed({before.name, self.name})

    def _is_left_halfway(self) -> bool:
        """Whether somebody has died who held it still for a moment, or was changing its nics. Two stat(2)."""
        return os.path.exists(f"{self.directory}/held") or os.path.exists(f"{self.directory}/rewiring")

    def adopted(self) -> Record:
        """Its record with a tree; what was made before there were pools gets one. Only while it is stopped."""
        self._record = self._engine.pools.adopt(self._record)
        return self._record

    def expect_stopped(self, doing: str, *, hint: str = "") -> None:
        """What a dead keeper left is taken back first. Raises WrongState where it runs, with what it "cannot" do then:
        "be renamed". Only by who has its lock."""
        state = self.observe().state
        if state is State.STUCK:
            self._repair()
        elif state is not State.STOPPED:
            raise WrongState(f"{self.name!r} cannot {doing}: it is {state}", hint=hint, state=str(state))

    def _expect_running(self, doing: str) -> int:
        observed = self.observe()
        if observed.state not in (State.RUNNING, State.FROZEN, State.STOPPING) or not observed.pid:
            raise self._not_running(doing, observed.state)
        return observed.pid

    def _let_start_finish(self, doing: str, *, is_forced: bool) -> None:
        """Before a stop: wait for a start in progress, take back what a dead keeper left, refuse what is stopped."""
        state = self.observe().state
        if state is State.STARTING:
            with contextlib.suppress(*[Busy] if is_forced else []), self.command(doing):
                state = self.observe().state
        if state is State.STUCK:
            with self.command(doing):
                self._repair()
            return
        if state is State.FROZEN:
            self._engine.driver.thaw(self.id, self.name)  # who is frozen hears no signal
        if state is State.STOPPED:
            from cloison.engine import stopping

            if not stopping.is_about_to_reboot(self._engine, self._record):
                raise self._not_running(doing, state)

    def is_about_to_start(self) -> bool:
        """Whether it has ended to be started again: by its monitor, after a reboot, or by a command that is at it."""
        from cloison.engine import stopping

        return stopping.is_about_to_start(self._engine, self._record)

    def _exec_request(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        terminal: bool = False,
        winsize: tuple[int, int] = (24, 80),
    ) -> ExecRequest:
        from cloison.engine import executing

        wanted = executing.Wanted(tuple(argv), dict(env or {}), cwd, terminal, winsize)
        executing.expect_command(wanted)
        self.reload()
        account = None
        if user:
            account = self._engine.driver.account(self._expect_running("run a command"), user)
        return executing.request(self._record, wanted, account)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
