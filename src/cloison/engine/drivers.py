"""What the engine asks of a driver, and the one place that knows which driver carries which kind of instance.

The protocols are small, and each is declared or absent: a driver without a console says so by not having one. The
values that pass between engine and driver are in `cloison.spec.driver`. Drivers are imported when first needed.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from cloison.engine.layout import Layout
from cloison.plan.inputs import CgroupPlace
from cloison.plan.plan import Plan
from cloison.spec.driver import (
    Account,
    ExecRequest,
    HostSize,
    LiveLimits,
    Observed,
    Reading,
    Running,
    StartRequest,
    Stdio,
    Usage,
    Watch,
)
from cloison.spec.network import Interface, InterfaceState
from cloison.spec.oci import IdMapping, Mount

if TYPE_CHECKING:
    from cloison.spec.files import Door
    from cloison.spec.finding import Finding


class Lifecycle(Protocol):
    """Start, watch and end an instance."""

    def command(
        self, instance_id: str, doing: str, *, timeout_s: float | None = 0.0
    ) -> AbstractContextManager[None]: ...
    def forget(self, instance_id: str) -> None: ...
    def plan_start(self, instance_id: str, request: StartRequest) -> Plan: ...
    def start(self, instance_id: str, request: StartRequest, watch: Watch | None = None) -> int: ...
    def observe(self, instance_id: str) -> Observed: ...
    def signal(self, instance_id: str, number: int, *, is_stop: bool = False) -> None: ...
    def signal_all(self, instance_id: str, name: str, number: int) -> None: ...
    def request_stop(self, instance_id: str, number: int, timeout_s: float | None) -> bool: ...
    def wait(self, instance_id: str, timeout_s: float | None = None) -> bool: ...
    def kill(self, instance_id: str) -> Usage | None: ...
    def repair(self, instance_id: str) -> bool: ...


class Exec(Protocol):
    """Run commands beside the init."""

    def account(self, pid: int, user: str) -> Account: ...
    def plan_exec(self, instance_id: str, request: ExecRequest) -> Plan: ...
    def execute(self, instance_id: str, request: ExecRequest, stdio: Stdio, watch: Watch | None = None) -> Running: ...
    def run_here(self, run: Callable[[Stdio], Running], *, on_terminal: bool) -> int: ...


class Files(Protocol):
    """Look at its files and change them while it runs."""

    def files(self, instance_id: str, *, is_privileged: bool) -> "AbstractContextManager[Door]": ...
    def edit(self, argv: Sequence[str]) -> int: ...


class Console(Protocol):
    """Show an instance's console on the caller's terminal."""

    def window(self) -> tuple[int, int]: ...
    def keys(self) -> AbstractContextManager[Callable[[float], str]]: ...
    def show_console(self, instance_id: str, log: str, connected: Callable[[], None] | None = None) -> None: ...


class Freeze(Protocol):
    """Hold an instance still."""

    def freeze(self, instance_id: str, name: str) -> None: ...
    def thaw(self, instance_id: str, name: str) -> None: ...
    def sync(self, pid: int) -> None: ...


class Stats(Protocol):
    """Count what an instance uses, and bound it."""

    def usage(self, instance_id: str, observed: Observed | None = None) -> Usage: ...
    def readings(self, instance_ids: Iterable[str]) -> dict[str, Reading]: ...
    def recorded_usage(self, record: bytes) -> Usage: ...
    def addresses(self) -> tuple[str, ...]: ...
    def interfaces(self, pid: int) -> tuple[InterfaceState, ...]: ...
    def proc_views(self, *, is_needed: bool) -> tuple[tuple[str, str], ...]: ...
    def set_limits(self, instance_id: str, name: str, before: LiveLimits, after: LiveLimits) -> None: ...
    def check_limits(self, instance_id: str, wanted: LiveLimits) -> None: ...
    def host_size(self) -> HostSize: ...
    def block_device(self, name: str) -> tuple[int, int]: ...


class Hosting(Protocol):
    """Do something to the host itself, in the same way as everything else is done: as a plan."""

    def carry_out(self, plan: Plan) -> None: ...
    def places(self) -> tuple[CgroupPlace, ...]: ...


class Nics(Protocol):
    """Plug interfaces in and out of a running instance."""

    def attach_interface(self, instance_id: str, name: str, interface: Interface) -> None: ...
    def detach_interface(self, instance_id: str, name: str, interface: Interface) -> None: ...
    def change_rules(self, instance_id: str, name: str, before: Interface, after: Interface) -> None: ...


class Mounts(Protocol):
    """Mount something in a running instance, and take it away."""

    def attach_mount(self, instance_id: str, name: str, mount: Mount, mappings: tuple[IdMapping, ...]) -> None: ...
    def detach_mount(
        self, instance_id: str, name: str, mount: Mount, mappings: tuple[IdMapping, ...], *, is_forced: bool = False
    ) -> None: ...


class Driver(Lifecycle, Exec, Files, Console, Freeze, Stats, Hosting, Nics, Mounts, Protocol):
    """All of them: what a container has."""


def container_driver(layout: Layout) -> Driver:
    """The driver of containers for one installation."""
    from cloison.runtime.driver import ContainerDriver

    return ContainerDriver(layout.run, layout.data)


def check(layout: Layout) -> "tuple[Finding, ...]":
    """What this host offers to every driver."""
    from cloison.runtime.check import check as check_host

    return check_host(layout.data)
