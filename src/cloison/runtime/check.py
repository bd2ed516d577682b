"""`cloison check`, and the same knowledge as errors.

`check` looks (`runtime.survey`) and judges (`runtime.findings`). `require_start` names the one thing that is in the way
of a start, in a sentence.
"""

from cloison.base.errors import Unsupported
from cloison.kernel.probe import HostFacts
from cloison.runtime.finding import Finding, said
from cloison.runtime.findings import GIVE_UP, findings
from cloison.runtime.survey import survey

__all__ = ["Finding", "check", "require_start"]


def check(directory: str) -> tuple[Finding, ...]:
    """What this host offers and lacks for instances whose files are below `directory`."""
    return findings(survey(directory))


def require_start(facts: HostFacts, *, is_privileged: bool) -> None:
    """Raise Unsupported, in one sentence, for the first thing without which nothing of this kind can start."""
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
