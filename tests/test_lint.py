"""Style, types and sizes: what a reviewer should not have to say."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloison
from tests.source_tree import PACKAGE, ROOT, files, modules, parsed, shown

PYTHON = sys.executable
MODULE_LINES = 700
FUNCTION_LINES = 60
C_COLUMNS = 80
NO_NAMES = frozenset({"utils", "util", "helpers", "helper", "misc", "manager", "common"})


def must_pass(*command: str) -> None:
    """Run a checker over the tree; what it complains about is the failure's text, without ours around it."""
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        pytest.fail(f"{' '.join(command)}\n{result.stdout}{result.stderr}", pytrace=False)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    has_docstring = ast.get_docstring(function) is not None
    return function.body[1:] if has_docstring else function.body


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the signature and the body; a docstring may be as long as it is useful."""
    body = body_of(function)
    if not body:
        return 0
    signature = function.body[0].lineno - function.lineno
    return signature + (function.end_lineno or 0) - body[0].lineno + 1


def is_flat_list_of_calls(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """One statement under another, no branch and no loop: it may be as long as the truth."""
    flat = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return)
    return all(isinstance(statement, flat) for statement in body_of(function))


def c_functions(path: Path) -> Iterator[tuple[int, int]]:
    """First and last line of each function body: its braces stand alone in the first column."""
    begin = 0
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line == "{":
            begin = number
        elif line == "}" and begin:
            yield begin, number
            begin = 0


def test_ruff_finds_nothing() -> None:
    must_pass(PYTHON, "-m", "ruff", "check", "--quiet", ".")


def test_ruff_would_format_nothing() -> None:
    must_pass(PYTHON, "-m", "ruff", "format", "--check", "--quiet", ".")


def test_mypy_finds_nothing() -> None:
    trees = [name for name in ("src", "tests", "native", "bench", "demo", "tools") if files(f"{name}/*.py")]
    must_pass(PYTHON, "-m", "mypy", "--no-error-summary", *trees)


def test_shellcheck_finds_nothing() -> None:
    must_pass("shellcheck", *(str(path.relative_to(ROOT)) for path in files("*.sh", ".ci/run")))


def test_the_launchers_header_is_generated_from_the_table_of_steps() -> None:
    must_pass(PYTHON, "native/gen_steps.py", "--check", "native/steps.h")


def test_modules_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in files("*.py", "*.c", "*.sh")}
    assert [f"{shown(path)}: {lines} lines" for path, lines in lengths.items() if lines > MODULE_LINES] == []


def test_functions_are_short() -> None:
    found = [
        f"{shown(path, function.lineno)} {function.name}: {code_lines(function)} lines"
        for path in files("*.py")
        for function in functions(path)
        if code_lines(function) > FUNCTION_LINES and not is_flat_list_of_calls(function)
    ]
    assert found == []


def test_c_functions_are_short() -> None:
    found = [
        f"{shown(path, begin)}: {end - begin + 1} lines"
        for path in files("*.c")
        for begin, end in c_functions(path)
        if end - begin + 1 > FUNCTION_LINES
    ]
    assert found == []


def test_c_lines_fit_on_eighty_columns() -> None:
    found = [
        shown(path, number)
        for path in files("native/*.c", "native/*.h", "tests/*.c")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if len(line.expandtabs(8)) > C_COLUMNS
    ]
    assert found == []


def test_every_module_has_a_name_of_its_own() -> None:
    assert [name for name in modules() if NO_NAMES & set(re.split(r"[._]", name))] == []


def test_the_package_says_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert getattr(cloison, "__version__", project["version"]) == project["version"]


def test_the_tests_run_against_the_installed_package() -> None:
    assert not Path(cloison.__file__).is_relative_to(PACKAGE)
