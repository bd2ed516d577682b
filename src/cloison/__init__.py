"""cloison cuts one Linux machine into many.

    import cloison

    engine = cloison.open()
    web = engine.launch("debian/12", "web", config=["limits.memory=256M"])
    print(web.exec(["systemctl", "is-system-running"]).stdout)
    web.stop()

What the command line can do, the library can do with the same words. Errors are those of `cloison.base.errors`,
re-exported here.
"""

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
from cloison.engine.engine import Engine
from cloison.engine.engine import open_engine as open
from cloison.engine.instance import Instance
from cloison.engine.results import Change, ExecResult, Info, Repaired
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
    "Engine",
    "ExecResult",
    "Exists",
    "Host",
    "Image",
    "Info",
    "Instance",
    "Invalid",
    "Kernel",
    "NoSpace",
    "NotFound",
    "Remote",
    "Repaired",
    "State",
    "TimedOut",
    "Unsupported",
    "Usage",
    "WrongState",
    "open",
]
