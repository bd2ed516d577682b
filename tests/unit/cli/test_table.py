"""What is shown in columns, and what it may not do to a terminal."""

from cloison.base.errors import Invalid
from cloison.cli.complaints import sentence
from cloison.cli.table import aligned, listed, printable


def test_what_others_say_commands_no_terminal() -> None:
    bad = "a\x1b[2J\x9b31m\nb\r\udce9"
    shown = "a\\x1b[2J\\x9b31m\\nb\\r\\udce9"
    assert printable(bad) == shown
    assert listed([("system", bad)]) == f"  system  {shown}\n"
    assert aligned(("NAME", "LAST"), [(bad, "x")]).splitlines()[1] == f"{shown}  x"
    assert sentence(Invalid(bad.replace("\n", "."), hint=bad)).count("\x1b") == 0


def test_letters_of_any_language_are_shown_as_they_are() -> None:
    assert printable("Straße, 日本 — ½") == "Straße, 日本 — ½"
    assert sentence(Invalid("one\ntwo", hint="three")) == "cloison: one\ntwo\n  hint: three      [invalid]"
