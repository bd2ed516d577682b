"""Who a user of an instance is, by its own /etc/passwd and /etc/group."""

import os

from cloison.base.accounts import Accounts, is_id, read
from cloison.base.errors import Invalid
from cloison.kernel import paths
from cloison.spec.driver import Account


def account(pid: int, user: str) -> Account:
    """The account for `user`, written as NAME, UID, NAME:GROUP or UID:GID. Raises Invalid.

    `pid` is the instance's init as the host sees it. Numbers need no entry in the instance's files."""
    name, _, group = user.partition(":")
    accounts = _files(pid)
    found = _user(accounts, name)
    gid = accounts.gid(group) if group else found.gid
    if gid is None:
        raise Invalid(
            f"there is no group {group!r} in the instance", hint="write a group id, or a name of its /etc/group"
        )
    others = () if group else accounts.others_of(found.name)
    return Account(found.name, found.uid, gid, others, found.home, found.shell)


def _files(pid: int) -> Accounts:
    try:
        root = paths.root_of(pid)
    except OSError:
        return read("", "")  # it has just ended, as the command is about to be told
    try:
        return read(_text(root, "/etc/passwd"), _text(root, "/etc/group"))
    finally:
        os.close(root)


def _user(accounts: Accounts, name: str) -> Account:
    if known := accounts.user(name):
        return Account(known.name, known.uid, known.gid, (), known.home or "/", known.shell or "/bin/sh")
    if is_id(name):
        return Account(name, int(name), 0 if name == "0" else int(name), (), "/root" if name == "0" else "/")
    if name == "root":
        return Account("root", 0, 0, (), "/root")
    raise Invalid(f"there is no user {name!r} in the instance", hint="write a user id, or a name of its /etc/passwd")


def _text(root: int, path: str) -> str:
    try:
        return paths.read_in_root(root, path).decode("utf-8", "surrogateescape")
    except OSError:
        return ""  # an instance need not have any accounts
