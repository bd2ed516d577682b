#!/usr/bin/env python3
"""Write `steps.h`, the C side of the table of steps in `src/cloison/plan/steps.py`.

    python native/gen_steps.py OUT            write OUT
    python native/gen_steps.py --check FILE   exit 1, with a sentence, where FILE is not what would be written

The header is committed, so that the C code can be read and compiled without Python; `--check` in the build holds it
to the table. The packages around the table stay out of this: its modules need nothing but msgspec, and so does the
build.
"""

import sys
from importlib import import_module
from pathlib import Path
from textwrap import wrap
from types import ModuleType

SOURCES = Path(__file__).resolve().parent.parent / "src"

# How a field lies in `struct arg_<kind>`. Every one takes 8 bytes on the machines that cloison runs on, so that the
# decoder fills an array of 64-bit numbers and the handlers read names.
MEMBERS = {
    "int": "int64_t {}",
    "hex": "int64_t {}",
    "oct": "int64_t {}",
    "slot": "int64_t {}",
    "out": "int64_t {}",
    "text": "const char *{}",
    "texts": "char *const *{}",
    "blob": "const struct blob *{}",
}

HEAD = """\
/* The table of steps, written by gen_steps.py from src/cloison/plan/steps.py.
 * Do not edit: change the table, then run
 *
 *	python native/gen_steps.py native/steps.h */
#ifndef CLOISON_STEPS_H
#define CLOISON_STEPS_H

#include <stdint.h>

struct state;

/* How a field lies in the plan, and how --print shows it. */
enum field_type {
"""

BLOB = """\
/* Bytes as they lie in the plan; aligned for 4 bytes. */
struct blob {
	uint32_t size;
	unsigned char bytes[];
};
"""

TABLE_TYPES = """\
struct field {
	const char *name;
	enum field_type type;
};

/* What the decoder and --print know of a kind. A hole in the numbering has no
 * name. */
struct kind_info {
	const char *name;
	uint32_t nfields;
	struct field fields[ARGS_MAX];
};

extern const struct kind_info KINDS[KIND_LIMIT];
"""


def load_table() -> ModuleType:
    """The module `cloison.plan.steps`, with those that it imports, in packages that do nothing else."""
    for name in ("cloison", "cloison.plan"):
        package = ModuleType(name)
        package.__path__ = [str(SOURCES.joinpath(*name.split(".")))]
        sys.modules[name] = package
    return import_module("cloison.plan.steps")


def header() -> str:
    """The whole text of `steps.h`."""
    table = load_table()
    kinds = [(cls.kind, cls.number, cls.__doc__, table.fields_of(cls)) for cls in table.KINDS]
    parts = [
        HEAD + "".join(f"\tFIELD_{name.upper()},\n" for name in MEMBERS) + "};\n",
        BLOB,
        f"#define MAX_SLOTS {table.MAX_SLOTS}\n#define ARGS_MAX {max(len(fields) for *_, fields in kinds)}\n",
        _enum(kinds),
        *(_arguments(*kind) for kind in kinds),
        _union(kinds),
        TABLE_TYPES,
        _table(kinds),
        _dispatch(kinds),
        "#endif\n",
    ]
    return "\n".join(parts)


Kind = tuple[str, int, str, tuple[tuple[str, str], ...]]  # kind, number, docstring, fields


def _enum(kinds: list[Kind]) -> str:
    lines = [f"\tKIND_{kind.upper()} = {number},\n" for kind, number, *_ in kinds]
    return "enum kind {\n" + "".join(lines) + "\tKIND_LIMIT\n};\n"


def _arguments(kind: str, _number: int, doc: str, fields: tuple[tuple[str, str], ...]) -> str:
    comment = "\n * ".join(wrap(f"/* {' '.join(doc.split())} */", 77)) + "\n"
    handler = f"int do_{kind}(const struct arg_{kind} *, struct state *);\n"
    if not fields:  # C has no empty structure: this one is never completed
        return f"{comment}struct arg_{kind};\n{handler}"
    members = "".join(f"\t{MEMBERS[kind_of]};\n".format(name) for name, kind_of in fields)
    size = f'_Static_assert(sizeof(struct arg_{kind}) == 8 * {len(fields)},\n\t       "{kind}");\n'
    return f"{comment}struct arg_{kind} {{\n{members}}};\n{size}{handler}"


def _union(kinds: list[Kind]) -> str:
    members = "".join(f"\tstruct arg_{kind} {kind};\n" for kind, *_, fields in kinds if fields)
    return f"union args {{\n\tuint64_t raw[ARGS_MAX];\n{members}}};\n"


def _table(kinds: list[Kind]) -> str:
    lines = ["#ifdef STEPS_TABLE", "const struct kind_info KINDS[KIND_LIMIT] = {"]
    for kind, _number, _doc, fields in kinds:
        lines.append(f'\t[KIND_{kind.upper()}] = {{ "{kind}", {len(fields)}, {{')
        lines += [f'\t\t{{ "{name}", FIELD_{kind_of.upper()} }},' for name, kind_of in fields]
        lines.append("\t} },")
    return "\n".join([*lines, "};", "#endif"]) + "\n"


def _dispatch(kinds: list[Kind]) -> str:
    lines = [
        "/* Carry a step out: 0 or more, or -errno. `kind` has passed the decoder. */",
        "static inline int",
        "do_step(uint32_t kind, const union args *args, struct state *st)",
        "{",
        "\tswitch (kind) {",
    ]
    for kind, _number, _doc, fields in kinds:
        argument = f"&args->{kind}" if fields else "0"
        lines += [f"\tcase KIND_{kind.upper()}:", f"\t\treturn do_{kind}({argument}, st);"]
    return "\n".join([*lines, "\t}", "\t__builtin_unreachable();", "}"]) + "\n"


def main(words: list[str]) -> int:
    """The exit status: 0, 1 where `--check` found a difference, 2 for other words than the two usages."""
    match words:
        case ["--check", name]:
            path = Path(name)
            if path.is_file() and path.read_text() == header():
                return 0
            print(f"{name} is stale: run `python native/gen_steps.py native/steps.h`", file=sys.stderr)
            return 1
        case [name] if not name.startswith("-"):
            Path(name).write_text(header())
            return 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
