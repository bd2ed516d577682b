"""The project's own files, as the tests about style, layers and documents see them.

They read the checkout, not the installed package: what is not committed yet is looked at too, what git ignores is not.
"""

import ast
import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "cloison"


@functools.cache
def files(*patterns: str) -> tuple[Path, ...]:
    """Files that git tracks or would add, of the given git patterns: `*.py` is found in every directory."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return tuple(ROOT / name for name in sorted(set(names)) if name and (ROOT / name).is_file())


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(), filename=str(path))


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of cloison by its dotted name without `cloison.`; the top package itself is the empty name."""
    found: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def shown(path: Path, line: int = 0) -> str:
    """How a finding names its place, as compilers do."""
    place = str(path.relative_to(ROOT))
    return f"{place}:{line}" if line else place
