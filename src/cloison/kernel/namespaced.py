"""Kernel parameters of other namespaces. Whose /proc/sys is shown depends on who reads, so a short-lived child reads.

Source: proc_sys(5), namespaces(7), nsenter(1), unshare(1).
"""

from cloison.kernel.process import run
from cloison.kernel.programs import needed

_TIMEOUT_S = 10.0
_NAMESPACES = ("--net", "--ipc", "--uts")


def parameter_of(pid: int, path: str) -> str | None:
    """What a process reads in `path`, such as /proc/sys/net/ipv4/ip_forward; None where it has no such parameter."""
    return _read([needed("nsenter", package="util-linux"), "--target", str(pid), *_NAMESPACES], path)


def new_parameter(path: str) -> str | None:
    """What `path` says in new namespaces; None where it is not there in those."""
    return _read([needed("unshare", package="util-linux"), *_NAMESPACES], path)


def may_write(pid: int, path: str) -> bool:
    """Whether root of the host may write a parameter of a process, in its namespaces but for that of its users.

    A parameter of the IPC namespace belongs to the root of the user namespace since Linux 6.9, and to that of the host
    before that."""
    enter = [needed("nsenter", package="util-linux"), "--target", str(pid), *_NAMESPACES]
    return run([*enter, "--", "test", "-w", path], timeout_s=_TIMEOUT_S).code == 0


def new_root_may_write(path: str) -> bool:
    """Whether root of a new user namespace may write a parameter of its new namespaces."""
    enter = [needed("unshare", package="util-linux"), "--user", "--map-root-user", *_NAMESPACES]
    return run([*enter, "--", "test", "-w", path], timeout_s=_TIMEOUT_S).code == 0


def _read(enter: list[str], path: str) -> str | None:
    found = run([*enter, "--", "cat", path], timeout_s=_TIMEOUT_S)
    return found.stdout.decode(errors="replace").strip() if found.code == 0 else None
