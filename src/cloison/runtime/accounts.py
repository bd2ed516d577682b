"""Users and groups of an instance, as its own /etc/passwd and /etc/group name them. Source: passwd(5), group(5)."""

import os

import msgspec

from cloison.base.errors import Invalid
from cloison.kernel import paths
from cloison.spec.driver import Account


def account(pid: int, user: str) -> Account:
    """The account for `user`, written as NAME, UID, NAME:GROUP or UID:GID. Raises Invalid.

    `pid` is the instance's init as the host sees it. Numbers need no entry in the instance's files."""
    name, _, group = user.partition(":")
    users, groups = _files(pid)
    found = _user(users, name)
    own_groups = tuple(int(g[2]) for g in groups if found.name in g[3].split(","))
    gid = _gid(groups, group) if group else found.gid
    return msgspec.structs.replace(found, gid=gid, groups=() if group else own_groups)


def _files(pid: int) -> tuple[list[list[str]], list[list[str]]]:
    try:
        root = paths.root_of(pid)
    except OSError:
        return [], []  # it has just ended, as the command is about to be told
    try:
        return _lines(root, "/etc/passwd"), _lines(root, "/etc/group")
    finally:
        os.close(root)


def _user(users: list[list[str]], name: str) -> Account:
    for fields in users:
        if fields[0] == name or fields[2] == name:
            return Account(fields[0], int(fields[2]), int(fields[3]), (), fields[5] or "/", fields[6] or "/bin/sh")
    if _is_id(name):
        return Account(name, int(name), 0 if name == "0" else int(name), (), "/root" if name == "0" else "/")
    if name == "root":
        return Account("root", 0, 0, (), "/root")
    raise Invalid(f"there is no user {name!r} in the instance", hint="write a user id, or a name of its /etc/passwd")


def _gid(groups: list[list[str]], name: str) -> int:
    if _is_id(name):
        return int(name)
    for fields in groups:
        if fields[0] == name:
            return int(fields[2])
    raise Invalid(f"there is no group {name!r} in the instance", hint="write a group id, or a name of its /etc/group")


def _lines(root: int, path: str) -> list[list[str]]:
    """The well-formed lines of a colon-separated file; what a guest has garbled is passed over."""
    try:
        text = paths.read_in_root(root, path).decode("utf-8", "surrogateescape")
    except OSError:
        return []  # an instance need not have any accounts
    wanted = 7 if path.endswith("passwd") else 4
    rows = [line.split(":") for line in text.splitlines()]
    ids = (2, 3) if wanted == 7 else (2,)
    return [row for row in rows if len(row) == wanted and all(_is_id(row[n]) for n in ids) and "\0" not in "".join(row)]


def _is_id(text: str) -> bool:
    """Whether a text is a number that can be somebody's: the last one means "nobody" to the kernel."""
    return text.isascii() and text.isdecimal() and int(text) < 0xFFFFFFFF
