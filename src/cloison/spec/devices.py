"""The device list of an instance: what its processes may do with device nodes. Pure.

    deny a, allow c 1:3 rwm, allow b 7:* rw, allow /dev/fuse rw

An entry is written as LXC writes it in `lxc.cgroup.devices.allow` and `.deny`: `a`, or a type (c or b), the numbers
with * for any, and what is allowed or denied of r (read), w (write) and m (mknod). What was last said of a device
counts; an entry without `allow` or `deny` allows. A path stands for the node that is there on the host at the start.

Source: Documentation/admin-guide/cgroup-v1/devices.rst; lxc.container.conf(5).
"""

import re

from cloison.spec.key import refuse
from cloison.spec.limits import DeviceEntry

MAX_MAJOR = (1 << 12) - 1  # MINORBITS is 20, include/linux/kdev_t.h
MAX_MINOR = (1 << 20) - 1
_WORDS = 'write entries such as "deny a, allow c 1:3 rwm, allow b 7:* rw, allow /dev/fuse rw"'
_ACCESS = "rwm"


def parse(key: str, text: str) -> tuple[DeviceEntry, ...]:
    """The entries, in their order. Raises Invalid."""
    return tuple(_entry(key, text, part.split()) for part in re.split(r"[,\n]", text))


def format_list(entries: tuple[DeviceEntry, ...]) -> str:
    """What `parse` reads back as the same list."""
    return ", ".join(format_entry(entry) for entry in entries)


def format_entry(entry: DeviceEntry) -> str:
    """One entry: "allow c 1:3 rwm"."""
    verb = "allow" if entry.allow else "deny"
    if entry.path:
        return f"{verb} {entry.path} {entry.access}"
    if entry.type == "a":
        return f"{verb} a"
    return f"{verb} {entry.type} {_star(entry.major)}:{_star(entry.minor)} {entry.access}"


def _entry(key: str, text: str, words: list[str]) -> DeviceEntry:
    allow = True
    if words and words[0] in ("allow", "deny"):
        allow = words.pop(0) == "allow"
    if not words:
        refuse(key, text, f"an entry is empty; {_WORDS}")
    kind, rest = words[0], words[1:]
    if kind.startswith("/"):
        if len(rest) > 1:
            refuse(key, text, f'"{" ".join(words)}" is no entry; {_WORDS}')
        return DeviceEntry(allow, access=_access(key, text, rest[0] if rest else _ACCESS), path=kind)
    if kind == "a" and rest in ([], ["*:*", _ACCESS]):
        return DeviceEntry(allow)
    if kind not in ("b", "c") or len(rest) != 2:
        refuse(key, text, f'"{" ".join(words)}" is no entry; {_WORDS}')
    major, colon, minor = rest[0].partition(":")
    if not colon:
        refuse(key, text, f'"{rest[0]}" is no pair of numbers such as 1:3 or 7:*')
    return DeviceEntry(
        allow,
        kind,
        _number(key, text, major, MAX_MAJOR),
        _number(key, text, minor, MAX_MINOR),
        _access(key, text, rest[1]),
    )


def _number(key: str, text: str, word: str, highest: int) -> int | None:
    if word == "*":
        return None
    if not word.isascii() or not word.isdecimal() or len(word) > 10 or int(word) > highest:
        refuse(key, text, f'"{word}" is no device number; write a whole number from 0 to {highest}, or *')
    return int(word)


def _access(key: str, text: str, word: str) -> str:
    if not word or set(word) - set(_ACCESS):
        refuse(key, text, f'"{word}" has to be made of r (read), w (write) and m (mknod)')
    return "".join(letter for letter in _ACCESS if letter in word)


def _star(number: int | None) -> str:
    return "*" if number is None else str(number)
