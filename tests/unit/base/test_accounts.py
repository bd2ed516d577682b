"""Users and groups of a system, in files that may be anybody's."""

from hypothesis import given
from hypothesis import strategies as st

from cloison.base.accounts import Accounts, Group, User, is_id, read

PASSWD = """\
root:x:0:0:root:/root:/bin/sh

ana:x:1000:100:Ana:/home/ana:
7:x:8:9::/:/bin/sh
seven:x:7:7::/:
odd
big:x:4294967295:0::/:
"""
GROUP = "root:x:0:\naudio:x:29:ana,bea\nvideo:x:44:bea\nusers:x:100:x,ana\nodd:x:y:\n"
FOUND = read(PASSWD, GROUP)


def test_lines_become_accounts_and_what_is_not_well_formed_does_not() -> None:
    assert [user.name for user in FOUND.users] == ["root", "ana", "7", "seven"]
    assert FOUND.users[1] == User("ana", 1000, 100, "/home/ana", "")
    assert FOUND.groups[1] == Group("audio", 29, ("ana", "bea"))
    assert len(FOUND.groups) == 4
    assert read("", "") == Accounts((), ())


def test_a_name_wins_over_a_number() -> None:
    ids = {name: user.uid for name in ("ana", "1000", "7", "8", "bea") if (user := FOUND.user(name))}
    assert ids == {"ana": 1000, "1000": 1000, "7": 8, "8": 8}
    assert [FOUND.gid(name) for name in ("audio", "29", "12345", "nobody", "")] == [29, 29, 12345, None, None]
    assert (FOUND.others_of("ana"), FOUND.others_of("root"), FOUND.others_of("")) == ((29, 100), (), ())


def test_numbers_are_those_that_can_be_somebodys() -> None:
    assert all(is_id(text) for text in ("0", "65536", "4294967294"))
    assert not any(is_id(text) for text in ("", "-1", "4294967295", "٣", "1.0", "9" * 5000))


@given(st.text(), st.text())
def test_any_text_is_read(passwd: str, group: str) -> None:
    read(passwd, group)
