"""The layers of the package: who may import whom, who may touch the system.

The table below is the one rule; a module that needs an exception needs a better home first. Every import counts, also
one inside a function or for the type checker; only the tests on when something is imported pass the latter over.
"""

import ast
import graphlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.source_tree import modules, parsed, shown

# Besides itself and base. A name with a dot allows that module (or package) alone; the empty name is `import cloison`,
# the public Python API.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "base": frozenset(),
    "kernel": frozenset(),
    "spec": frozenset(),
    "plan": frozenset({"spec", "kernel.abi", "kernel.netlink"}),
    "runtime": frozenset({"plan", "spec", "kernel"}),
    "vm": frozenset({"plan", "spec", "kernel"}),
    "images": frozenset({"plan", "spec", "kernel"}),
    "storage": frozenset({"plan", "spec", "kernel"}),
    "network": frozenset({"plan", "spec", "kernel"}),
    "engine": frozenset({"plan", "spec", "images", "storage", "network"}),
    "cluster": frozenset({"engine", "spec"}),
    "client": frozenset({"spec"}),
    "cli": frozenset({"engine", "spec", ""}),
    "api": frozenset({"engine", "spec", ""}),
    "compat": frozenset({"engine", "spec", ""}),
    "": frozenset({"engine", "spec", "images"}),  # images: for the values that the API hands out
    "__main__": frozenset({"cli"}),
}

# Besides what the package may; each with the rule that asks for it.
MODULE_MAY_IMPORT: dict[str, frozenset[str]] = {
    "engine.drivers": frozenset({"runtime", "vm"}),  # the one place that knows both drivers
    "compat.oci": frozenset({"runtime"}),  # enters the walk below the engine, with somebody else's specification
}
LAZY_ONLY = {"engine.drivers": ("runtime", "vm")}  # half of all commands need neither driver

# Doors to the system, which belong to kernel/. An exception is a module and what it may use, with its reason.
DOORS = frozenset({"ctypes", "fcntl", "subprocess", "pty", "termios", "tty", "resource"})
DOOR_EXCEPTIONS: dict[str, frozenset[str]] = {}
OPENERS = frozenset(
    {"open", "Path", "read_text", "write_text", "listdir", "scandir", "readlink", "stat", "lstat", "exists", "access"}
    | {"isdir", "isfile", "islink", "ismount", "mkdir", "rmdir", "unlink", "statvfs", "glob", "iglob", "walk"}
)

# Pure code touches no file, clock, environment, process or network.
PURE = ("spec", "plan", "kernel.abi", "kernel.netlink")
PURE_EXCEPT = frozenset({"plan.journal"})  # the only file-writer of plan/
IMPURE_MODULES = DOORS | frozenset(
    {"asyncio", "glob", "http", "io", "logging", "multiprocessing", "random", "secrets", "select", "selectors"}
    | {"shutil", "socket", "sqlite3", "tempfile", "threading", "time", "urllib"}
)
IMPURE_CALLS = frozenset(
    {"open", "input", "print", "Path.cwd", "Path.home", "datetime.now", "date.today", "uuid.uuid4"}
)
PURE_OS = frozenset({"PathLike", "fsencode", "fsdecode", "fspath", "strerror", "path"})
PURE_OS_PATH = frozenset({"basename", "commonpath", "dirname", "isabs", "join", "normpath", "relpath", "split"})


@dataclass(frozen=True, slots=True)
class Import:
    """One import of one module of cloison by another.

    `is_lazy`: only when a function is called. `is_typing`: never, it is there for the type checker."""

    importer: str
    target: str
    line: int
    is_lazy: bool
    is_typing: bool

    def __str__(self) -> str:
        return f"{shown(modules()[self.importer], self.line)} imports cloison.{self.target}"


def is_within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def package_of(module: str) -> str:
    return module.partition(".")[0]


def absolute_name(module: str, node: ast.ImportFrom) -> str:
    """The dotted name after `from`, with relative dots resolved."""
    if not node.level:
        return node.module or ""
    here = ["cloison", *module.split(".")] if module else ["cloison"]
    if modules()[module].name != "__init__.py":
        here.pop()
    base = here[: len(here) - (node.level - 1)]
    return ".".join([*base, node.module] if node.module else base)


def targets(module: str, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Modules of cloison that the statement names, in the short form of `modules()`."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        source = absolute_name(module, node)
        submodules = [f"{source}.{alias.name}" for alias in node.names]
        names = [name if name.removeprefix("cloison.") in modules() else source for name in submodules]
    for name in names:
        if name == "cloison" or name.startswith("cloison."):
            yield name.removeprefix("cloison").removeprefix(".")


def statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node


def statements_in_functions(tree: ast.Module) -> set[ast.stmt]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {found for node in ast.walk(tree) if isinstance(node, functions) for found in statements(node)}


def statements_for_typing(tree: ast.Module) -> set[ast.stmt]:
    found: set[ast.stmt] = set()
    for node in ast.walk(tree):
        match node:
            case ast.If(ast.Name("TYPE_CHECKING") | ast.Attribute(_, "TYPE_CHECKING"), body):
                found.update(statement for inner in body for statement in statements(inner))
    return found


def imports() -> Iterator[Import]:
    for module, path in modules().items():
        tree = parsed(path)
        lazy, typing = statements_in_functions(tree), statements_for_typing(tree)
        for node in statements(tree):
            for target in targets(module, node):
                yield Import(module, target, node.lineno, is_lazy=node in lazy, is_typing=node in typing)


def is_allowed(an_import: Import) -> bool:
    importer, target = an_import.importer, an_import.target
    package = package_of(importer)
    if target and package_of(target) in {package, "base"}:
        return True
    extra = [names for module, names in MODULE_MAY_IMPORT.items() if is_within(importer, module)]
    allowed = MAY_IMPORT.get(package, frozenset()).union(*extra)
    return is_within(target, *allowed)


def outside_imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Top-level names of everything imported, with the line."""
    for node in statements(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif not node.level and node.module:
            yield node.module.partition(".")[0], node.lineno


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call, with the callee as written: `open`, `os.open`; a method of an expression is `.name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(name):
                    yield name, node
                case ast.Attribute(ast.Name(owner), name):
                    yield f"{owner}.{name}", node
                case ast.Attribute(_, name):
                    yield f".{name}", node


def first_text(node: ast.expr) -> str:
    """The literal text an argument begins with; empty where it begins with a value."""
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.Constant(bytes(raw)):
            return raw.decode("latin-1")
        case ast.JoinedStr([first, *_]):
            return first_text(first)
        case ast.BinOp(left, _, _):
            return first_text(left)
        case ast.Call(ast.Name("Path"), [first, *_]):
            return first_text(first)
    return ""


def pure_modules() -> Iterator[tuple[str, Path]]:
    for module, path in modules().items():
        if is_within(module, *PURE) and module not in PURE_EXCEPT:
            yield module, path


def test_every_package_has_its_row_in_the_table() -> None:
    assert {package_of(module) for module in modules()} <= set(MAY_IMPORT)


def test_imports_follow_the_table() -> None:
    assert [str(found) for found in imports() if not is_allowed(found)] == []


def test_drivers_are_imported_when_first_needed() -> None:
    eager = [
        str(found)
        for found in imports()
        if not (found.is_lazy or found.is_typing) and is_within(found.target, *LAZY_ONLY.get(found.importer, ()))
    ]
    assert eager == []


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in modules()}
    for found in imports():
        if not found.is_typing and found.target != found.importer:
            graph[found.importer].add(found.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = " <- ".join(f"cloison.{module}" for module in error.args[1])
        raise AssertionError(f"imports in a circle: {circle}") from None


def test_only_kernel_opens_doors_to_the_system() -> None:
    found = [
        f"{shown(path, line)} imports {name}"
        for module, path in modules().items()
        if not is_within(module, "kernel")
        for name, line in outside_imports(parsed(path))
        if name in DOORS - DOOR_EXCEPTIONS.get(module, frozenset())
    ]
    assert found == []


def test_only_kernel_opens_proc_and_sys() -> None:
    found = [
        f"{shown(path, call.lineno)} calls {name}"
        for module, path in modules().items()
        if not is_within(module, "kernel")
        for name, call in calls(parsed(path))
        if name.rpartition(".")[2] in OPENERS
        and any(first_text(argument).startswith(("/proc", "/sys")) for argument in call.args)
    ]
    assert found == []


def test_pure_code_imports_nothing_that_acts() -> None:
    found = [
        f"{shown(path, line)} imports {name}"
        for _, path in pure_modules()
        for name, line in outside_imports(parsed(path))
        if name in IMPURE_MODULES
    ]
    assert found == []


def test_pure_code_calls_nothing_that_acts() -> None:
    found = [
        f"{shown(path, call.lineno)} calls {name}"
        for _, path in pure_modules()
        for name, call in calls(parsed(path))
        if name in IMPURE_CALLS
    ]
    assert found == []


def test_pure_code_takes_only_names_and_constants_from_os() -> None:
    found = []
    for _, path in pure_modules():
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Attribute(ast.Name("os"), name) if not (name.isupper() or name in PURE_OS):
                    found.append(f"{shown(path, node.lineno)} uses os.{name}")
                case ast.Attribute(ast.Attribute(ast.Name("os"), "path"), name) if name not in PURE_OS_PATH:
                    found.append(f"{shown(path, node.lineno)} uses os.path.{name}")
    assert found == []


def test_no_python_runs_between_clone_and_exec() -> None:
    found = [
        f"{shown(path, call.lineno)} passes preexec_fn"
        for path in modules().values()
        for _, call in calls(parsed(path))
        if any(keyword.arg == "preexec_fn" for keyword in call.keywords)
    ]
    assert found == []


def test_only_the_command_line_exits() -> None:
    found = [
        f"{shown(path, call.lineno)} calls {name}"
        for module, path in modules().items()
        if module not in {"cli.main", "__main__"}
        for name, call in calls(parsed(path))
        if name in {"sys.exit", "os._exit", "SystemExit", "exit", "quit"}
    ]
    assert found == []


def test_an_init_module_only_documents_and_re_exports() -> None:
    """`__getattr__` is how a package imports lazily; it is all the code there may be."""
    found = []
    for path in modules().values():
        if path.name != "__init__.py":
            continue
        for node in parsed(path).body:
            match node:
                case ast.Import() | ast.ImportFrom() | ast.Assign() | ast.AnnAssign() | ast.Expr(ast.Constant(str())):
                    pass
                case ast.If(ast.Name("TYPE_CHECKING")):
                    pass
                case ast.FunctionDef("__getattr__" | "__dir__"):
                    pass
                case _:
                    found.append(f"{shown(path, node.lineno)} has code")
    assert found == []
