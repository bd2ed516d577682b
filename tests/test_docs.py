"""What the documents cite exists: `package.module:name`, `native/file.c:name`, and links to files."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.source_tree import ROOT, files, modules, parsed, shown

# `plan.steps:Step.undo`, with or without `cloison.` in front. One word before the colon is no module: an image, a tag.
PYTHON = re.compile(r"`(?:cloison\.)?([a-z_]\w*(?:\.\w+)+):([A-Za-z_]\w*(?:\.\w+)*)(?:\(\))?`")
C = re.compile(r"`(native/[\w./]+\.[ch]):(\w+)(?:\(\))?`")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def documents() -> Iterator[tuple[Path, int, str]]:
    """Every line of every document that is read by people."""
    for path in files("*.md"):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            yield path, number, line


def citations() -> Iterator[tuple[str, str, str]]:
    """(where, module, name) of each citation of Python code: its first word is one of our packages."""
    packages = {name.partition(".")[0] for name in modules()}
    for path, number, line in documents():
        for module, name in PYTHON.findall(line):
            if module.partition(".")[0] in packages:
                yield shown(path, number), module, name


def bound_by(statement: ast.stmt) -> Iterator[tuple[str, list[ast.stmt]]]:
    """Names that a statement binds, each with the body in which a further name is looked up."""
    match statement:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
            yield name, []
        case ast.ClassDef(name):
            yield name, statement.body
        case ast.Assign(bound):
            yield from ((node.id, []) for target in bound for node in ast.walk(target) if isinstance(node, ast.Name))
        case ast.AnnAssign(ast.Name(name)):
            yield name, []
        case ast.Import(aliases) | ast.ImportFrom(_, aliases):
            yield from ((alias.asname or alias.name, []) for alias in aliases)
        case ast.If() | ast.Try() | ast.With():
            for inner in ast.iter_child_nodes(statement):
                if isinstance(inner, ast.stmt):
                    yield from bound_by(inner)


def is_defined(name: str, body: list[ast.stmt]) -> bool:
    first, _, rest = name.partition(".")
    inner = [scope for statement in body for bound, scope in bound_by(statement) if bound == first]
    return bool(inner) and (not rest or any(is_defined(rest, scope) for scope in inner))


def test_cited_python_names_exist() -> None:
    found = [
        f"{where} cites {module}:{name}"
        for where, module, name in citations()
        if module not in modules() or not is_defined(name, parsed(modules()[module]).body)
    ]
    assert found == []


def test_cited_c_names_exist() -> None:
    found = [
        f"{shown(path, number)} cites {source}:{name}"
        for path, number, line in documents()
        for source, name in C.findall(line)
        if not (ROOT / source).is_file() or not re.search(rf"\b{name}\b", (ROOT / source).read_text())
    ]
    assert found == []


def test_linked_files_exist() -> None:
    found = [
        f"{shown(path, number)} links to {target}"
        for path, number, line in documents()
        for target in LINK.findall(line)
        if not (path.parent / target).exists()
    ]
    assert found == []
