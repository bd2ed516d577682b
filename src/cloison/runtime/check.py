"""`cloison check`, and the same knowledge as errors.

`check` looks (`runtime.survey`) and judges (`runtime.findings`). `require_start` names the one thing that is in the way
of a start, in a sentence.
"""

from typing import Final

from cloison.base.errors import Unsupported
from cloison.kernel.cgroup_world import CgroupWorld
from cloison.kernel.probe import HostFacts
from cloison.runtime.findings import GIVE_UP, Finding, findings, said
from cloison.runtime.survey import survey

__all__ = ["CONTROLLER_OF", "Finding", "check", "require_start"]

# Which controller of the control groups a key of the configuration needs.
CONTROLLER_OF: Final = {"limits.memory": "memory", "limits.cpus": "cpu", "limits.processes": "pids"}


def check(directory: str) -> tuple[Finding, ...]:
    """What this host offers and lacks for instances whose files are below `directory`."""
    return findings(survey(directory))


def require_start(
    facts: HostFacts,
    *,
    is_privileged: bool,
    limits: tuple[str, ...] = (),
    world: CgroupWorld | None = None,
) -> None:
    """Raise Unsupported, in one sentence, for the first thing without which nothing of this kind can start.

    `limits` are keys of CONTROLLER_OF, which have to be enforced in `world`."""
    answers = facts.answers
    if facts.euid and answers.user_namespace:
        raise Unsupported(
            f"cannot start: this is not root, and user namespaces are refused to it: {said(answers.user_namespace)}",
            hint="run as root, or let users have them: `cloison check` names the switch",
        )
    if answers.overlay:
        raise Unsupported(
            "cannot start: this kernel has no overlayfs, of which every root file system is made",
            hint="modprobe overlay, or use a kernel with CONFIG_OVERLAY_FS",
        )
    if not is_privileged:
        _require_unprivileged(facts)
    for key in limits:
        _require_controller(world, key)


def _require_controller(world: CgroupWorld | None, key: str) -> None:
    controller = CONTROLLER_OF[key]
    if world is not None and world.of(controller) is None:
        raise Unsupported(
            f"{key} cannot be set: no control group hierarchy with the {controller} controller is mounted here",
            hint=f"mount one, or do without {key}; `cloison check` lists what there is",
            key=key,
            controller=controller,
        )


def _require_unprivileged(facts: HostFacts) -> None:
    answers = facts.answers
    for error, what, hint in (
        (answers.user_namespace, "user namespaces are refused", "sysctl -w user.max_user_namespaces=15000"),
        (answers.overlay_in_userns, "overlayfs is refused inside a user namespace", "use Linux 5.11 or later"),
        (
            answers.idmapped_mounts,
            f"the file system of {facts.directory} cannot map ids",
            "use Linux 5.19 or later, and ext4, xfs or btrfs",
        ),
        (answers.idmapped_overlay, "overlayfs cannot use layers with mapped ids", "use Linux 5.19 or later"),
    ):
        if error:
            raise Unsupported(
                f"cannot start an unprivileged container: {what}: {said(error)}", hint=f"{hint}; {GIVE_UP}"
            )
