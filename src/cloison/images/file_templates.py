"""Files that are written anew for each instance, as the images of LXD and Incus bring them. Pure.

LXD's templates are in the language of pongo2, of which images use little; this much is understood:

    {{ container.name }}  {{ instance.type }}  {{ properties.x }}  {{ path }}  {{ trigger }}
    {{ config_get("user.x", "default") }}
    {% if a == b and not c %} … {% elif a %} … {% else %} … {% endif %}    with ==, !=, and, or, not
    {# a comment #}
    {%- … -%}  {{- … -}}                   the blanks and ends of lines on that side are left out

`config_get` answers for what LXD would have in the configuration of such an instance: keys below `user` and
`cloud-init` as they are set, and below `image` the properties of its image. There is no inclusion of files and no
filter: a template says what a file holds, and cannot ask for anything else (CVE-2026-23953 and its relatives). What is
not understood is refused when the image is imported.
Source: LXD's documentation, "Image format"; the generators of distrobuilder, which makes the public images.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from cloison.base.errors import Invalid

_TOKEN = re.compile(r"(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", re.DOTALL)
_WORD = re.compile(r'\s*(?:"([^"\\]*)"|\'([^\'\\]*)\'|(==|!=|&&|\|\||[(),!])|([A-Za-z_][\w.-]*))')
_OBJECTS = ("container", "instance", "properties")
_ANSWERED = ("user.", "cloud-init.", "image.")
_BLANKS = " \t\r\n"
TRIGGERS = ("create", "copy", "start", "rename")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l", "i386": "i686", "ppc64el": "ppc64le"}
MAX_TEXT = 1 << 16


class Variables(msgspec.Struct, frozen=True):
    """What a template may ask for. `properties` are its own, `config` what `config_get` answers from."""

    name: str
    trigger: str  # one of TRIGGERS
    path: str = ""
    architecture: str = ""  # as Debian writes it; templates see it as the kernel does
    is_privileged: bool = False
    is_ephemeral: bool = False
    properties: Mapping[str, str] = {}
    config: Mapping[str, str] = {}


class _Branch(msgspec.Struct):
    """One `if` that is being read: whether its present part counts, and whether an earlier one did."""

    is_on: bool
    was_on: bool


def render(text: str, variables: Variables) -> str:
    """The file's text. Raises Invalid for what is not understood."""
    if len(text) > MAX_TEXT:
        raise Invalid(f"the template of {variables.path} is longer than {MAX_TEXT} characters")
    out: list[str] = []
    branches: list[_Branch] = []
    for piece in _trimmed(_TOKEN.split(text)):
        is_on = all(branch.is_on for branch in branches)
        if piece.startswith("{{"):
            value = _Expression(piece[2:-2], variables).value()  # also where it does not count: it has to be understood
            out.append(value if is_on else "")
        elif piece.startswith("{%"):
            _branch(piece[2:-2].strip(), branches, variables)
        elif not piece.startswith("{#") and is_on:
            out.append(piece)
    if branches:
        raise Invalid("an {% if %} of the template has no {% endif %}")
    return "".join(out)


def _trimmed(pieces: list[str]) -> Iterator[str]:
    """The pieces, texts and tokens by turns, without the marks for blanks and without the blanks that they mean."""
    for at, piece in enumerate(pieces):
        if at % 2 == 0:
            before = pieces[at - 1] if at else ""
            after = pieces[at + 1] if at + 1 < len(pieces) else ""
            piece = piece.lstrip(_BLANKS) if before.endswith(("-%}", "-}}")) else piece
            yield piece.rstrip(_BLANKS) if after.startswith(("{%-", "{{-")) else piece
        elif piece.startswith("{#"):
            yield piece
        else:
            yield piece[:2] + piece[2:-2].removeprefix("-").removesuffix("-") + piece[-2:]


def _branch(words: str, branches: list[_Branch], variables: Variables) -> None:
    verb, _, rest = words.partition(" ")
    if verb == "if":
        is_on = _Expression(rest, variables).truth()
        branches.append(_Branch(is_on, is_on))
    elif verb in ("elif", "else", "endif") and branches:
        branch = branches[-1]
        if verb == "endif":
            branches.pop()
        else:
            holds = verb == "else" or _Expression(rest, variables).truth()
            branch.is_on = holds and not branch.was_on
            branch.was_on = branch.was_on or branch.is_on
    else:
        raise Invalid(f"{{% {words} %}} of the template is not understood", hint="if, elif, else and endif are")


class _Expression:
    """A value, or two that are compared."""

    def __init__(self, text: str, variables: Variables) -> None:
        self._text = text.strip()
        self._variables = variables
        self._words = list(self._split())
        self._at = 0

    def value(self) -> str:
        """The value, as a text. Raises Invalid."""
        found = self._value()
        self._end()
        return found

    def truth(self) -> bool:
        """Whether it holds. Raises Invalid."""
        holds = self._either()
        self._end()
        return holds

    def _either(self) -> bool:
        holds = self._both()
        while self._took("or", "||"):
            holds = self._both() or holds
        return holds

    def _both(self) -> bool:
        holds = self._single()
        while self._took("and", "&&"):
            holds = self._single() and holds
        return holds

    def _single(self) -> bool:
        if self._took("not", "!"):
            return not self._single()
        left = self._value()
        if self._took("=="):
            return left == self._value()
        if self._took("!="):
            return left != self._value()
        return left != ""  # "false" holds, too, as in pongo2: it is a text

    def _took(self, *words: str) -> bool:
        """Whether one of these is next, which is then passed over; never a text in quotes."""
        if self._at == len(self._words) or self._words[self._at][0] == "text" or self._words[self._at][1] not in words:
            return False
        self._at += 1
        return True

    def _split(self) -> Iterator[tuple[str, str]]:
        at = 0
        while at < len(self._text):
            found = _WORD.match(self._text, at)
            if found is None:
                raise self._refused()
            at = found.end()
            double, single, sign, name = found.groups()
            if name is not None:
                yield "name", name
            elif sign is not None:
                yield "sign", sign
            else:
                yield "text", double if double is not None else single

    def _next(self) -> tuple[str, str]:
        if self._at == len(self._words):
            raise self._refused()
        self._at += 1
        return self._words[self._at - 1]

    def _end(self) -> None:
        if self._at != len(self._words):
            raise self._refused()

    def _value(self) -> str:
        kind, word = self._next()
        if kind == "text":
            return word
        if kind != "name":
            raise self._refused()
        if word == "config_get":
            return self._config_get()
        if word in ("path", "trigger"):
            return str(getattr(self._variables, word))
        first, _, rest = word.partition(".")
        if first not in _OBJECTS or not rest:
            raise self._refused()
        return self._field(first, rest)

    def _field(self, what: str, name: str) -> str:
        variables = self._variables
        if what == "properties":
            return variables.properties.get(name, "")
        known = {
            "name": variables.name,
            "architecture": _MACHINES.get(variables.architecture, variables.architecture),
            "type": "container",
            "ephemeral": str(variables.is_ephemeral).lower(),
            "privileged": str(variables.is_privileged).lower(),
        }
        if name not in known:
            raise self._refused()
        return known[name]

    def _config_get(self) -> str:
        """As LXD does: a value without the ends of lines that it ends in, or the default where nothing is set."""
        if self._next()[1] != "(":
            raise self._refused()
        kind, key = self._next()
        if kind != "text" or self._next()[1] != ",":
            raise self._refused()
        if not key.startswith(_ANSWERED):
            raise Invalid(
                f"config_get({key!r}) of the template asks for what instances do not have here",
                hint="keys below user, cloud-init and image can be asked for",
            )
        otherwise = self._value()
        if self._next()[1] != ")":
            raise self._refused()
        value = self._variables.config.get(key)
        return otherwise if value is None else value.rstrip("\r\n")

    def _refused(self) -> Invalid:
        return Invalid(
            f"{self._text!r} of the template is not understood",
            hint="container.name, properties.x, config_get(key, default), path and trigger are, and texts in quotes",
        )
