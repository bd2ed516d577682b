import pytest

from cloison.base.escapes import Harmless, harmless


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"plain\ttext\r\n", b"plain\ttext\r\n"),
        ("déjà vu".encode(), "déjà vu".encode()),
        (b"[\x1b[0;32m  OK  \x1b[0m]", b"[\x1b[0;32m  OK  \x1b[0m]"),
        (b"\x1b[38;2;1;2;3mred", b"\x1b[38;2;1;2;3mred"),
        (b"a\x1b[6nb", b"ab"),  # asks where the cursor is: the answer would be typed
        (b"a\x1b[>4;1mb", b"ab"),  # ends in m, and sets how xterm reports keys
        (b"\x1b]0;title\x07x", b"x"),
        (b"\x1b]52;c;Y2F0\x1b\\x", b"x"),  # the clipboard
        (b"\x1bP$q\x22p\x1b\\x", b"x"),
        (b"\x1b(B\x1b=\x1bcx", b"x"),
        (b"\x1b[2J\x1b[Hx", b"x"),
        (b"a\x07\x08\x00b", b"ab"),
        (b"\xc2\x9b6nx", b"6nx"),  # the same in one character
        (b"\x1b]0;never ends", b"]0;never ends"),
        (b"\x1b\x1b[6nx", b"x"),
    ],
)
def test_text_and_colours_pass_alone(said: bytes, shown: bytes) -> None:
    assert harmless(said) == shown


@pytest.mark.parametrize("text", [b"a\x1b[31mb\x1b[6nc", b"a\x1b]0;title\x1b\\b", b"a\xc2\x9bb", "aéb".encode()])
def test_it_does_not_matter_where_the_pieces_end(text: bytes) -> None:
    for end in range(len(text) + 1):
        pieces = Harmless()
        assert pieces.feed(text[:end]) + pieces.feed(text[end:]) == harmless(text)
    one_by_one = Harmless()
    assert b"".join(one_by_one.feed(text[at : at + 1]) for at in range(len(text))) == harmless(text)


def test_what_never_becomes_a_sequence_is_not_kept_for_ever() -> None:
    pieces = Harmless()
    assert pieces.feed(b"\x1b]" + b"x" * 5000) == b"]" + b"x" * 5000
