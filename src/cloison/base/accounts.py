"""Users and groups, as the /etc/passwd and the /etc/group of a system name them. Pure.

What is not well-formed is passed over: the files may be anybody's. A name of digits alone is a name where there is one.
Source: passwd(5), group(5).
"""

import msgspec


class User(msgspec.Struct, frozen=True):
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


class Group(msgspec.Struct, frozen=True):
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...]


class Accounts(msgspec.Struct, frozen=True):
    """All of them, in the order of the files."""

    users: tuple[User, ...]
    groups: tuple[Group, ...]

    def user(self, name: str) -> User | None:
        """The user of this name, else the first with that number."""
        named = next((user for user in self.users if user.name == name), None)
        return named or next((user for user in self.users if str(user.uid) == name), None)

    def gid(self, name: str) -> int | None:
        """The id of the group of this name, else the number that `name` is; None where it is neither."""
        named = next((group.gid for group in self.groups if group.name == name), None)
        return int(name) if named is None and is_id(name) else named

    def others_of(self, user: str) -> tuple[int, ...]:
        """The groups that list a user, by their ids."""
        return tuple(group.gid for group in self.groups if user in group.members)


def read(passwd: str, group: str) -> Accounts:
    """The accounts in the text of two files."""
    users = (
        User(row[0], int(row[2]), int(row[3]), row[5], row[6])
        for row in _rows(passwd, 7)
        if is_id(row[2]) and is_id(row[3])
    )
    groups = (
        Group(row[0], int(row[2]), tuple(filter(None, row[3].split(",")))) for row in _rows(group, 4) if is_id(row[2])
    )
    return Accounts(tuple(users), tuple(groups))


def is_id(text: str) -> bool:
    """Whether a text is a number that can be somebody's: the last one means "nobody" to the kernel."""
    return text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 0xFFFFFFFF


def _rows(text: str, fields: int) -> list[list[str]]:
    rows = (line.split(":") for line in text.split("\n") if "\0" not in line)
    return [row for row in rows if len(row) == fields]
