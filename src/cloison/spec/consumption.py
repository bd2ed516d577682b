"""What was consumed, as values that can be added up. Pure.

Beside `cloison.spec.tariff`, which says what it costs: the decimal numbers of that take a while to import, and every
stop counts what was used.
"""

import msgspec

HOUR_S = 3600
HOUR_NS = HOUR_S * 1_000_000_000


class Consumption(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was used in some time, in whole numbers, so that sums are exact."""

    cpu_ns: int = 0
    memory_byte_s: int = 0
    disk_byte_s: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0

    def __add__(self, other: "Consumption") -> "Consumption":
        return Consumption(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))

    def __sub__(self, other: "Consumption") -> "Consumption":
        return Consumption(*(getattr(self, name) - getattr(other, name) for name in self.__struct_fields__))

    def share(self, part: int, whole: int) -> "Consumption":
        """`part` of `whole` of it, rounded down."""
        return Consumption(*(getattr(self, name) * part // whole for name in self.__struct_fields__))
