"""Sizes, CPU counts and durations: between what people write and what the kernel counts. Pure.

    size        256M   1.5G   4096   50%      bytes; K M G T P are powers of 1024, and `Mi` and `MiB` say so aloud
    CPUs        1.5    0.25   4               thousandths of a CPU
    duration    30s    5m     1h30m  500ms    seconds; a bare number is seconds

Each parser is told the key it reads for, so that its error says where to look. Numbers are read digit by digit, not
as floats: 0.1T is what it says. `MB` is refused, because half of the world takes it for a million bytes.
"""

from typing import Final, NoReturn

from cloison.base.errors import Invalid

_MAX: Final = (1 << 63) - 1  # what the kernel's limits are counted in: a signed 64-bit number
_SIZE_UNITS: Final = "KMGTP"
_SIZES: Final = "write a number with K, M, G or T, such as 256M"
_CPUS: Final = "write a number such as 2 or 0.5"
_DURATIONS: Final = "write a number with ms, s, m, h or d, such as 30s"
_MS_PER: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_MIN_MILLI_CPUS: Final = 10  # cpu.max and cpu.cfs_quota_us take no less than 1 ms in a period of 100 ms
_MAX_MILLI_CPUS: Final = 8192 * 1000  # what a kernel can be built for at most (CONFIG_NR_CPUS)


def parse_size(text: str, *, key: str, total_bytes: int | None = None) -> int:
    """The bytes that `text` means; `total_bytes` is what a percentage is a part of. Raises Invalid."""
    if text.endswith("%"):
        if total_bytes is None:
            _refuse(key, text, f"a percentage has no meaning here; {_SIZES}")
        return total_bytes * parse_share(text, key=key) // 10_000
    number, suffix = _split(text)
    exponent = _exponent(suffix)
    if exponent is None:
        _refuse(key, text, f'"{text}" is no size; {_SIZES}')
    scaled = _scaled(number, 1 << (10 * exponent))
    if scaled is None or (exponent == 0 and "." in number):
        _refuse(key, text, f'"{text}" is no size; {_SIZES}')
    if scaled > _MAX:
        _refuse(key, text, f"more than the kernel can count; {_SIZES}")
    return scaled


def format_size(size_bytes: int) -> str:
    """A size for people to read, rounded to a tenth: "256M", "1.5G", "812". Not for files: see `exact_size`."""
    unit = ""
    tenths = size_bytes * 10
    for unit_above in _SIZE_UNITS:
        if tenths < 10240:
            break
        tenths, unit = (tenths + 512) // 1024, unit_above
    whole, tenth = divmod(tenths, 10)
    return f"{whole}.{tenth}{unit}" if tenth and whole < 100 else f"{whole}{unit}"


def exact_size(size_bytes: int) -> str:
    """The shortest text that `parse_size` reads back as the same number: "256M", "262145"."""
    unit = ""
    for unit_above in _SIZE_UNITS:
        if not size_bytes or size_bytes % 1024:
            break
        size_bytes, unit = size_bytes // 1024, unit_above
    return f"{size_bytes}{unit}"


def parse_share(text: str, *, key: str) -> int:
    """Hundredths of a percent: "12.5%" is 1250. What is finer than that is cut off. Raises Invalid."""
    hundredths = _scaled(text.removesuffix("%"), 100)
    if hundredths is None or not text.endswith("%"):
        _refuse(key, text, f'"{text}" is no size; {_SIZES} or 50%')
    if hundredths > 10_000:
        _refuse(key, text, "more than there is; write at most 100%")
    return hundredths


def format_share(hundredths: int) -> str:
    """What `parse_share` reads back as the same number: "12.5%"."""
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02}".rstrip("0").rstrip(".") + "%"


def parse_cpus(text: str, *, key: str) -> int:
    """Thousandths of a CPU: "1.5" is 1500. What is finer than that is cut off. Raises Invalid."""
    milli = _scaled(text, 1000)
    if milli is None:
        _refuse(key, text, f'"{text}" is no number of CPUs; {_CPUS}')
    if milli < _MIN_MILLI_CPUS:
        _refuse(key, text, "the kernel gives no less than 0.01 of a CPU")
    if milli > _MAX_MILLI_CPUS:
        _refuse(key, text, f"no machine has so many CPUs; {_CPUS}")
    return milli


def format_cpus(milli_cpus: int) -> str:
    """What `parse_cpus` reads back as the same number: "1.5"."""
    whole, rest = divmod(milli_cpus, 1000)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".")


def parse_duration(text: str, *, key: str) -> float:
    """Seconds: "30s", "1h30m", "500ms", "2.5". Raises Invalid."""
    if (bare := _scaled(text, 1000)) is not None:
        return _seconds(bare, key, text)
    total_ms, rest = 0, text
    while rest:
        number, tail = _split(rest)
        unit = tail[: len(tail) - len(tail.lstrip("dhms"))]
        scaled = _scaled(number, _MS_PER.get(unit, 0))
        if scaled is None or unit not in _MS_PER:
            _refuse(key, text, f'"{text}" is no duration; {_DURATIONS}')
        total_ms, rest = total_ms + scaled, tail[len(unit) :]
    if not text:
        _refuse(key, text, f'"{text}" is no duration; {_DURATIONS}')
    return _seconds(total_ms, key, text)


def format_duration(duration_s: float) -> str:
    """What `parse_duration` reads back as the same number, to the millisecond: "1h30m", "250ms", "0s"."""
    rest_ms, parts = round(duration_s * 1000), []
    for unit, unit_ms in _MS_PER.items():
        count, rest_ms = divmod(rest_ms, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _seconds(total_ms: int, key: str, text: str) -> float:
    if total_ms > _MAX // 1_000_000:  # the kernel counts time in nanoseconds
        _refuse(key, text, f"longer than the kernel can count; {_DURATIONS}")
    return total_ms / 1000


def _split(text: str) -> tuple[str, str]:
    """The number at the beginning, and what follows it."""
    rest = text.lstrip("0123456789.")
    return text[: len(text) - len(rest)], rest


def _exponent(suffix: str) -> int | None:
    """The power of 1024 that a suffix stands for; None where it is none."""
    if suffix in ("", "B"):
        return 0
    if suffix[1:] not in ("", "i", "iB"):
        return None
    return 1 + _SIZE_UNITS.index(suffix[0].upper()) if suffix[0].upper() in _SIZE_UNITS else None


def _scaled(number: str, factor: int) -> int | None:
    """A decimal number times `factor`, rounded down; None where `number` is not one."""
    whole, point, fraction = number.partition(".")
    digits = whole + fraction
    is_number = whole and bool(fraction) == bool(point) and digits.isascii() and digits.isdecimal()
    if not is_number or len(digits) > 40:
        return None
    divisor: int = 10 ** len(fraction)
    return int(digits) * factor // divisor


def _refuse(key: str, text: str, why: str) -> NoReturn:
    raise Invalid(f"{key}={text}: {why}", key=key, value=text)
