"""The plans that run a command in a running instance, and that freeze it. Pure."""

import os

from cloison.kernel.abi import CLONE_NEWPID, O_PATH
from cloison.plan import cgroups, process
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace, HostLimits
from cloison.plan.plan import Action, Plan
from cloison.plan.process_steps import (
    Clone,
    SetDumpable,
    Setgroups,
    Setns,
    Setresgid,
    Setresuid,
    Setsid,
    WriteChild,
)
from cloison.plan.steps import NO_SLOT, Open, OpenPty, ReportFd, SetWinsize, Wait, Where, Write
from cloison.spec.oci import Process

INIT = 0  # the slot of the init's pidfd, inherited


def compile_exec(
    title: str,
    command: Process,
    *,
    namespaces: int,
    is_privileged: bool,
    places: tuple[CgroupPlace, ...],
    host: HostLimits,
    seccomp: bytes = b"",
    winsize: tuple[int, int] = (24, 80),
    argv0: str = "",
) -> Plan:
    """The plan that runs `command` beside a running init, whose pidfd is slot 0.

    `namespaces` are the CLONE_NEW* flags of those that the instance has of its own. With `command.terminal` a
    pseudo-terminal of the instance is opened, and its master reported to the caller."""
    build = Builder(title, inherited=("the pidfd of its init",))
    build.chapter("a new process in the instance's control groups")
    leaf = NO_SLOT
    for place in places:
        if place.version == 2:
            leaf = build.slot()
            path = f"{place.outer}/{cgroups.EXEC_LEAF}"
            build.host(Open(leaf, NO_SLOT, path, cgroups.O_PATH_DIRECTORY, 0))
    if namespaces & CLONE_NEWPID:
        build.host(Setns(INIT, CLONE_NEWPID))
    build.host(Clone(0, leaf))
    if command.oom_score_adj is not None:
        build.host(WriteChild("oom_score_adj", str(command.oom_score_adj)))
    build.inside(SetDumpable(0))
    cgroups.attach(build, places)
    build.chapter("enter its namespaces")
    build.inside(Setns(INIT, namespaces & ~CLONE_NEWPID))
    if not is_privileged:
        build.inside(Setgroups(()))
        build.inside(Setresgid(0))
        build.inside(Setresuid(0))
    build.inside(Setsid())
    if command.terminal:
        _terminal(build, winsize)
    process.become(
        build,
        command,
        seccomp=seccomp,
        host_capabilities=host.capabilities,
        env=command.env,
        end_with_parent=False,
        argv0=argv0,
    )
    build.chapter("wait for it")
    build.host(Wait())
    return build.plan()


def _terminal(build: Builder, winsize: tuple[int, int]) -> None:
    build.chapter("a terminal of the instance's own")
    root, master, slave = build.slot(), build.slot(), build.slot()
    build.inside(Open(root, NO_SLOT, "/", O_PATH | os.O_DIRECTORY, 0))
    build.inside(OpenPty(master, slave, root, "dev/pts"))
    build.inside(SetWinsize(master, *winsize))
    build.inside(ReportFd(master))
    process.take_terminal(build, slave)


def compile_kill(title: str, places: tuple[CgroupPlace, ...]) -> Plan:
    """The plan that kills every process of a running instance."""
    return Plan(title, tuple(Action(step, Where.HOST, "no process survives it") for step in cgroups.kills(places)))


def compile_freeze(title: str, places: tuple[CgroupPlace, ...], *, is_frozen: bool) -> Plan:
    """The plan that freezes a running instance through the v2 tree where there is one, else the freezer of v1; or lets
    it go on through both, whoever froze it. Raises Unsupported where the host has neither."""
    freezers = cgroups.freezers(places)
    if is_frozen:
        path, frozen, thawed = freezers[0]
        step, back = Write(NO_SLOT, path, frozen), Write(NO_SLOT, path, thawed)
        return Plan(title, (Action(step, Where.HOST, "no process runs any further", (back,)),))
    steps = (Write(NO_SLOT, path, thawed) for path, _frozen, thawed in freezers)
    return Plan(title, tuple(Action(step, Where.HOST, "every process goes on") for step in steps))
