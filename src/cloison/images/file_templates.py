"""Files that are written anew for each instance, as the images of LXD and Incus bring them. Pure.

LXD's templates are in the language of pongo2, of which images use little; this much is understood:

    {{ container.name }}  {{ instance.type }}  {{ properties.x }}  {{ path }}  {{ trigger }}
    {{ config_get("user.x", "default") }}
    {% if a == b %} … {% elif a %} … {% else %} … {% endif %}    with == and !=
    {# a comment #}

There is no inclusion of files and no filter: a template says what a file holds, and cannot ask for anything else
(CVE-2026-23953 and its relatives). What is not understood is refused when the image is imported.
Source: LXD's documentation, "Image format", and the images of linuxcontainers.org.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from cloison.base.errors import Invalid

_TOKEN = re.compile(r"(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", re.DOTALL)
_WORD = re.compile(r'\s*(?:"([^"\\]*)"|\'([^\'\\]*)\'|(==|!=|[(),])|([A-Za-z_][\w.-]*))')
_OBJECTS = ("container", "instance", "properties", "image", "config")
MAX_TEXT = 1 << 16


class Variables(msgspec.Struct, frozen=True):
    """What a template may ask for. `config` are keys of the instance's configuration that the user made up."""

    name: str
    trigger: str  # "create", "copy", "start"
    path: str = ""
    architecture: str = ""
    is_privileged: bool = False
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
    for piece in _TOKEN.split(text):
        is_on = all(branch.is_on for branch in branches)
        if piece.startswith("{{"):
            value = _Expression(piece[2:-2], variables).value()  # also where it does not count: it has to be understood
            out.append(value if is_on else "")
        elif piece.startswith("{%"):
            _branch(piece[2:-2].strip(" \t\n-"), branches, variables)
        elif not piece.startswith("{#") and is_on:
            out.append(piece)
    if branches:
        raise Invalid("an {% if %} of the template has no {% endif %}")
    return "".join(out)


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
            branch.is_on = not branch.was_on and (verb == "else" or _Expression(rest, variables).truth())
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
        left = self._value()
        if self._at < len(self._words) and self._words[self._at][1] in ("==", "!="):
            is_equal = self._words[self._at][1] == "=="
            self._at += 1
            right = self._value()
            self._end()
            return (left == right) == is_equal
        self._end()
        return left not in ("", "false", "False", "0")

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
        if what == "properties" or what == "image":
            return variables.properties.get(name, "")
        if what == "config":
            return variables.config.get(name, "")
        known = {
            "name": variables.name,
            "architecture": variables.architecture,
            "type": "container",
            "ephemeral": "false",
            "privileged": str(variables.is_privileged).lower(),
        }
        if name not in known:
            raise self._refused()
        return known[name]

    def _config_get(self) -> str:
        if self._next()[1] != "(":
            raise self._refused()
        kind, key = self._next()
        if kind != "text" or self._next()[1] != ",":
            raise self._refused()
        otherwise = self._value()
        if self._next()[1] != ")":
            raise self._refused()
        return self._variables.config.get(key, otherwise)

    def _refused(self) -> Invalid:
        return Invalid(
            f"{self._text!r} of the template is not understood",
            hint="container.name, properties.x, config_get(key, default), path and trigger are, and texts in quotes",
        )
