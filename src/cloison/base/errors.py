"""Every error that cloison raises.

    CloisonError
    |-- Usage                 the command line is wrong             exit 2   HTTP 400
    |-- Invalid               a name, key or value is wrong         exit 2   HTTP 422
    |-- NotFound              no such thing                         exit 3   HTTP 404
    |-- Conflict              the request is right, not now         exit 4   HTTP 409
    |   |-- Exists            the name is taken
    |   |-- WrongState        the instance is not in a state for it
    |   `-- Busy              somebody else is at work on it
    |-- Denied                not allowed                           exit 5   HTTP 403
    |-- Host                  this host cannot                      exit 6   HTTP 500
    |   |-- Unsupported       a kernel feature or a program is missing       HTTP 501
    |   |-- NoSpace           a disk is full                                 HTTP 507
    |   `-- Kernel            a step of a plan failed                        HTTP 500
    |-- Remote                a registry or a peer failed           exit 7   HTTP 502
    `-- Bug                   ours                                  exit 70  HTTP 500

A class is chosen by what the caller can do about it. `code` is public and never reused: scripts and
REST clients match on it. The sentence names the thing, what was expected; `hint` says what to do next.
"""

from typing import ClassVar

Fact = str | int | float | bool | tuple[str, ...] | None


class CloisonError(Exception):
    """The root of the tree; never raised itself."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 70
    http_status: ClassVar[int] = 500

    def __init__(self, sentence: str, *, hint: str = "", **facts: Fact) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint
        self.facts = facts

    def __str__(self) -> str:
        return self.sentence


class Usage(CloisonError):
    """The words of a command cannot be understood."""

    code = "usage"
    exit_code = 2
    http_status = 400


class Invalid(CloisonError):
    """A name, a key or a value that cannot be."""

    code = "invalid"
    exit_code = 2
    http_status = 422


class NotFound(CloisonError):
    """There is no such instance, image or key."""

    code = "not-found"
    exit_code = 3
    http_status = 404


class Conflict(CloisonError):
    """The request is right, but not now."""

    code = "conflict"
    exit_code = 4
    http_status = 409


class Exists(Conflict):
    """The name is taken."""

    code = "exists"


class WrongState(Conflict):
    """The instance is not in a state in which this can be done."""

    code = "wrong-state"


class Busy(Conflict):
    """Another process is changing the same thing."""

    code = "busy"


class Denied(CloisonError):
    """The caller may not do this."""

    code = "denied"
    exit_code = 5
    http_status = 403


class Host(CloisonError):
    """This host cannot do it."""

    code = "host"
    exit_code = 6
    http_status = 500


class Unsupported(Host):
    """A kernel feature or a program is missing."""

    code = "unsupported"
    http_status = 501


class NoSpace(Host):
    """A disk, or an inode table, is full."""

    code = "no-space"
    http_status = 507


class Kernel(Host):
    """The kernel refused one step of a plan; `facts` name step and errno."""

    code = "kernel"


class Remote(CloisonError):
    """A registry, an image server or another host failed."""

    code = "remote"
    exit_code = 7
    http_status = 502


class TimedOut(Remote):
    """Something that was waited for did not happen in time."""

    code = "timed-out"
    http_status = 504


class Bug(CloisonError):
    """A mistake of cloison itself."""

    code = "bug"
