"""Images of LXD, of Incus and of LXC: a root file system, and what its metadata say of it.

    unified      metadata.yaml, templates/, rootfs/                              one archive
    split        metadata.yaml, templates/ and, apart, rootfs.squashfs or a tar of the root file system
    LXC          rootfs/, and config, create-message, templates beside it; or those in a meta.tar.xz of their own

Source: LXD's documentation, "Image format"; lxc-download and the templates of LXC.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from cloison.base.errors import Invalid
from cloison.images.file_templates import MAX_TEXT, TRIGGERS, Variables, render
from cloison.images.image import FileTemplate

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386", "ppc64le": "ppc64el"}
_MOST_YAML = 1 << 20
_PATH = re.compile(r"/[^\0]{1,1000}")
_LXC_MARK = "LXC_NAME"
_MOST_ID = 65535  # those that an instance has
_KEYS = ("template", "when", "create_only", "properties", "uid", "gid", "mode")


class Metadata(msgspec.Struct, frozen=True):
    """What metadata say. `warnings` name what was not understood, and does not happen."""

    properties: dict[str, str] = {}
    architecture: str = ""
    templates: tuple[FileTemplate, ...] = ()
    warnings: tuple[str, ...] = ()


def metadata_of(text: bytes, files: Mapping[str, bytes]) -> Metadata:
    """The metadata in a metadata.yaml; `files` are those of the archive, "templates/hostname.tpl". Raises Invalid."""
    import yaml

    if len(text) > _MOST_YAML:
        raise Invalid("the image's metadata.yaml is too long to be one")
    try:
        # All scalars are texts: 3.20 is a release, and not a number of which a zero may be lost.
        found = yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise Invalid(f"the image's metadata.yaml cannot be read: {problem}", hint="get the image again") from problem
    if not isinstance(found, dict):
        raise Invalid("the image's metadata.yaml says nothing", hint="get the image again")
    said = _table(found.get("properties"))
    properties = {str(key): _text(value) for key, value in said.items() if not isinstance(value, (dict, list))}
    for key in ("creation_date", "expiry_date"):
        if key in found:
            properties[key] = _text(found[key])
    templates, warnings = _templates(_table(found.get("templates")), files)
    machine = _text(found.get("architecture") or properties.get("architecture", ""))
    return Metadata(properties, _ARCHITECTURES.get(machine, machine), templates, warnings)


def of_lxc(files: Mapping[str, bytes], read: Mapping[str, bytes]) -> Metadata:
    """The metadata beside an LXC root file system. The files that its `templates` lists have the mark LXC_NAME where
    the container's name belongs; `read` are those, as far as they are there."""
    templates = []
    for path in _lines(files.get("templates", b"")):
        if (text := read.get(path)) is not None and len(text) <= MAX_TEXT:
            shown = text.decode(errors="replace").replace("{", "{{ '{' }}").replace(_LXC_MARK, "{{ container.name }}")
            templates.append(FileTemplate(path, ("create", "copy"), shown))
    message = files.get("create-message", b"").decode(errors="replace").strip()
    properties = {"message": message[:2000]} if message else {}
    return Metadata(properties, templates=tuple(templates))


def lxc_templates(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """The paths of files with the container's name in them."""
    return tuple(_lines(files.get("templates", b"")))[:100]


def _lines(content: bytes) -> list[str]:
    lines = (line.strip() for line in content.decode(errors="replace").splitlines())
    return [line for line in lines if _PATH.fullmatch(line) and ".." not in line.split("/")]


def _templates(table: dict[Any, Any], files: Mapping[str, bytes]) -> tuple[tuple[FileTemplate, ...], tuple[str, ...]]:
    """The templates that are understood, and why others are not."""
    good: list[FileTemplate] = []
    warnings: list[str] = []
    for path, said in table.items():
        try:
            good.append(_template(_text(path), _table(said), files))
        except Invalid as problem:
            warnings.append(f"the template of {_text(path)} is left out: {problem.sentence}")
        else:
            warnings += _passed_over(_text(path), _table(said))
    return tuple(good), tuple(warnings)


def _template(path: str, said: dict[Any, Any], files: Mapping[str, bytes]) -> FileTemplate:
    name = _text(said.get("template", ""))
    if not _PATH.fullmatch(path) or ".." in path.split("/"):
        raise Invalid(f"{path!r} is no path inside")
    text = files.get(f"templates/{name}")
    if text is None or "/" in name:
        raise Invalid(f"the archive has no templates/{name}")
    when = _list(said.get("when"))
    known = tuple(word for word in TRIGGERS if word in when)
    if not known:
        raise Invalid("it does not say when it applies")
    given = {str(key): _text(value) for key, value in _table(said.get("properties")).items()}
    template = FileTemplate(
        path,
        known,
        text.decode(errors="replace"),
        _text(said.get("create_only", "")).lower() in ("true", "yes", "on"),
        given,
        _number(said, "uid", 10, _MOST_ID),
        _number(said, "gid", 10, _MOST_ID),
        _number(said, "mode", 8, 0o7777, 0o644),
    )
    render(template.text, Variables("name", known[0], path, properties=given))
    return template


def _passed_over(path: str, said: dict[Any, Any]) -> list[str]:
    """What a template says beside what is understood of it."""
    when = [_text(word) for word in _list(said.get("when")) if word not in TRIGGERS]
    keys = [_text(key) for key in said if key not in _KEYS]
    rest = [f"when: {word}" for word in when] + keys
    return [f"the template of {path} says more than is understood: {', '.join(rest)}"] if rest else []


def _number(said: dict[Any, Any], key: str, base: int, most: int, otherwise: int = 0) -> int:
    text = _text(said.get(key, ""))
    if not text:
        return otherwise
    try:
        number = int(text, base)
    except ValueError:
        number = -1
    if not 0 <= number <= most:
        raise Invalid(f"{key}: {text!r} is none")
    return number


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _table(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return str(value)[:2000]
