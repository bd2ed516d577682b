"""Lists of CPUs and of memory nodes, as the kernel writes them: "0-1,3". Pure.

Source: cpuset(7), "List format".
"""


def parse(text: str) -> frozenset[int]:
    """The numbers in a list. Raises ValueError."""
    found: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def write(numbers: frozenset[int]) -> str:
    """The shortest list of these numbers; nothing for none."""
    parts: list[str] = []
    ordered = sorted(numbers)
    while ordered:
        length = next((n for n, number in enumerate(ordered) if number != ordered[0] + n), len(ordered))
        parts.append(str(ordered[0]) if length == 1 else f"{ordered[0]}-{ordered[length - 1]}")
        ordered = ordered[length:]
    return ",".join(parts)
