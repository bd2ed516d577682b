"""The short way: the plain forms of the commands that are called most often, without click.

    cloison start NAME...      cloison exec NAME [--] COMMAND...
    cloison stop NAME...       cloison delete NAME...       cloison ls
    cloison stats [NAME...]            cloison create IMAGE NAME [--storage POOL]
    cloison copy NAME NEW              cloison snapshot create NAME [SNAPSHOT]

Importing click takes longer than the start of a container. Whatever has another option, and everything that is written
in another way, takes the whole command line, which knows these forms as well; both ways end in the same functions.
"""

from collections.abc import Callable

from cloison.cli.invocation import Invocation


def understood(words: list[str]) -> Callable[[], int] | None:
    """The call that these words mean, where they have one of the forms above."""
    match words:
        case ["ls"]:
            from cloison.cli import listing

            return lambda: listing.show(Invocation())
        case ["stats", *names] if not any(word.startswith("-") for word in names):
            from cloison.cli import statistics

            return lambda: statistics.show(Invocation(), names)
        case ["start" | "stop" | "delete", _, *_] if not any(word.startswith("-") for word in words):
            return _on_names(words[0], words[1:])
        case ["exec", name, "--", _, *_] if not name.startswith("-"):
            return _execution(name, words[3:])
        case ["exec", name, command, *_] if not name.startswith("-") and not command.startswith("-"):
            return _execution(name, words[2:])
        case ["create", image, name] if _are_plain(image, name):
            return _creation(image, name, "default")
        case ["create", image, name, "--storage", pool] if _are_plain(image, name, pool):
            return _creation(image, name, pool)
        case ["copy", name, new] if _are_plain(name, new):
            from cloison.cli import calls

            return lambda: calls.copy(Invocation(), name, new)
        case ["snapshot", "create", name, *rest] if len(rest) < 2 and _are_plain(name, *rest):
            from cloison.cli import calls

            return lambda: calls.keep(Invocation(), name, *rest)
    return None


def _are_plain(*words: str) -> bool:
    return not any(word.startswith("-") for word in words)


def _creation(image: str, name: str, pool: str) -> Callable[[], int]:
    from cloison.cli import calls

    return lambda: calls.create(Invocation(), image, name, storage=pool)


def _on_names(verb: str, names: list[str]) -> Callable[[], int]:
    from cloison.cli import calls

    call = {"start": calls.start, "stop": calls.stop, "delete": calls.delete}[verb]
    return lambda: call(Invocation(), names)


def _execution(name: str, argv: list[str]) -> Callable[[], int]:
    from cloison.cli import calls
    from cloison.cli.complaints import beside_payload

    return lambda: beside_payload(lambda: calls.execute(Invocation(), name, argv))
