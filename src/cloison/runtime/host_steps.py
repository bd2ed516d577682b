"""Plans without a new process: their steps are run by the launcher, and taken back when one of them fails."""

import os
from collections.abc import Sequence

from cloison.base.errors import Bug
from cloison.plan.plan import Plan
from cloison.runtime import launcher
from cloison.runtime.failures import failure


def run(plan: Plan, inherited: Sequence[int] = ()) -> tuple[tuple[int, int], ...]:
    """Run a plan of host steps to its end; `inherited` are the caller's descriptors for the plan's first slots.

    The steps are of a process of their own: it may enter namespaces, and is in them when it takes a failed plan back.
    Gives (index, errno) of every optional step that failed. Raises the errors of `failures`; then it has been taken
    back."""
    plan_fd = launcher.plan_in_memory(plan)
    try:
        with launcher.launch(plan_fd, name=f"cloison: {plan.title}", inherited=inherited) as running:
            return _outcome_of_host_steps(running, plan)
    finally:
        os.close(plan_fd)


def _outcome_of_host_steps(running: launcher.Launch, plan: Plan) -> tuple[tuple[int, int], ...]:
    warnings: list[tuple[int, int]] = []
    failed: launcher.Report | None = None
    for report in running:
        if report.type == launcher.FAILED:
            failed = report
        elif report.type == launcher.WARNING:
            warnings.append((report.index, report.errno))
        elif report.type == launcher.INVALID:
            raise launcher.refused(report, plan.title)
    if failed is not None:
        raise failure(plan, failed.index, failed.errno, failed.value, failed.said)
    if running.reap() != 0:
        raise Bug(f"the launcher died in {plan.title!r} without a report")
    return tuple(warnings)
