"""cloison cuts one Linux machine into many.

    import cloison

    engine = cloison.open()
    web = engine.launch("debian/12", "web", config=["limits.memory=256M"])
    print(web.exec(["systemctl", "is-system-running"]).stdout)
    web.stop()

What the command line can do, the library can do with the same words. Errors are those of `cloison.base.errors`,
re-exported here.
"""

from typing import TYPE_CHECKING

from cloison.base.errors import (
    Bug,
    Busy,
    CloisonError,
    Conflict,
    Denied,
    Exists,
    Host,
    Invalid,
    Kernel,
    NoSpace,
    NotFound,
    Remote,
    TimedOut,
    Unsupported,
    Usage,
    WrongState,
)

if TYPE_CHECKING:
    from cloison.engine.billing import LedgerReport
    from cloison.engine.engine import Engine
    from cloison.engine.engine import open_engine as open
    from cloison.engine.instance import Instance
    from cloison.engine.results import (
        Change,
        DueSnapshot,
        ExecResult,
        FileChange,
        Info,
        NetworkInfo,
        NicInfo,
        Repaired,
        SnapshotInfo,
        Stats,
    )
    from cloison.images import Image
    from cloison.spec.driver import State

__version__ = "0.1.0"
__all__ = [
    "Bug",
    "Busy",
    "Change",
    "CloisonError",
    "Conflict",
    "Denied",
    "DueSnapshot",
    "Engine",
    "ExecResult",
    "Exists",
    "FileChange",
    "Host",
    "Image",
    "Info",
    "Instance",
    "Invalid",
    "Kernel",
    "LedgerReport",
    "NetworkInfo",
    "NicInfo",
    "NoSpace",
    "NotFound",
    "Remote",
    "Repaired",
    "SnapshotInfo",
    "State",
    "Stats",
    "TimedOut",
    "Unsupported",
    "Usage",
    "WrongState",
    "open",
]

# Each is imported when it is first asked for: a command that only prints its help needs no engine.
_HOMES = {
    "Change": "engine.results",
    "DueSnapshot": "engine.results",
    "Engine": "engine.engine",
    "ExecResult": "engine.results",
    "FileChange": "engine.results",
    "Image": "images",
    "Info": "engine.results",
    "Instance": "engine.instance",
    "LedgerReport": "engine.billing",
    "NetworkInfo": "engine.results",
    "NicInfo": "engine.results",
    "Repaired": "engine.results",
    "SnapshotInfo": "engine.results",
    "State": "spec.driver",
    "Stats": "engine.results",
}


def __getattr__(name: str) -> object:
    """The public names above, from where they live (PEP 562)."""
    import importlib

    if name == "open":
        return importlib.import_module("cloison.engine.engine").open_engine
    if name not in _HOMES:
        raise AttributeError(f"module 'cloison' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cloison.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
