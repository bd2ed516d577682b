"""What servers answer instead of what was asked for, as sentences. Pure but for the clock that an HTTP date needs.

| status | error | what to do |
| --- | --- | --- |
| 401, 403 | Denied | log in, or as somebody else |
| 404, 410 | NotFound | look at the name |
| 429 | Remote | wait; log in, as limits are higher then |
| 5xx | Remote | try again later |
"""

import contextlib
import email.utils
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from cloison.base.errors import CloisonError, Denied, Invalid, NotFound, Remote

RETRIED: Final = (408, 429, 500, 502, 503, 504)
_LONGEST_WORDS: Final = 200


class _Complaint(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Body(msgspec.Struct, frozen=True):
    errors: tuple[_Complaint, ...] = ()
    details: str = ""


def words_of(body: bytes) -> str:
    """What a server says about an error, for people; "" where it says nothing readable. distribution-spec, "Errors"."""
    try:
        said = msgspec.json.decode(body, type=_Body)
    except msgspec.MsgspecError:
        return ""
    words = "; ".join(one.message or one.code for one in said.errors) or said.details
    return "".join(character if character.isprintable() else " " for character in words)[:_LONGEST_WORDS]


def refusal(
    status: int, *, what: str, host: str, words: str = "", is_known: bool = False, wait: str = ""
) -> CloisonError:
    """The error for an answer with this status to a request about `what`.

    `is_known`: credentials were sent along. `wait` is the server's Retry-After."""
    said = f": {words}" if words else ""
    if status in (401, 403):
        sentence = f"{host} refuses {what}{said}"
        hint = f"these credentials are not enough; `cloison login {host}` takes others"
        if not is_known:
            hint = (
                f"log in with `cloison login {host}`, or look whether the name is right: some servers say this then too"
            )
        return Denied(sentence, hint=hint, status=status, host=host)
    if status in (404, 410):
        return NotFound(f"{host} has no {what}{said}", hint="look at the name and the tag", status=status, host=host)
    if status == 429:
        hint = f"it says that it will answer again in {wait}" if wait else "wait a while"
        more = "" if is_known else f"; with `cloison login {host}` limits are higher on many servers"
        return Remote(f"{host} has had too many requests from here{said}", hint=hint + more, status=status, host=host)
    if status >= 500:
        return Remote(
            f"{host} failed with status {status} when it was asked for {what}{said}",
            hint="this is the server's own trouble: try again later, or ask who runs it",
            status=status,
            host=host,
        )
    return Remote(f"{host} answered with status {status} when it was asked for {what}{said}", status=status, host=host)


def retry_after_s(header: str, now_s: float | None = None) -> float | None:
    """The seconds that a server asks to wait for; None where it says nothing readable. RFC 9110, section 10.2.3."""
    if header.isdigit():
        return float(min(int(header), 1 << 31))
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return None
    return max(0.0, moment.timestamp() - (time.time() if now_s is None else now_s))


@contextlib.contextmanager
def sent_by(what: str) -> Iterator[None]:
    """What is wrong with what a server has sent is the server's fault: Remote, and not Invalid."""
    try:
        yield
    except Invalid as problem:
        raise Remote(f"{what} cannot be taken: {problem.sentence}", hint=problem.hint) from problem
