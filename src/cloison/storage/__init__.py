"""Storage: where an instance's own files are, and what its root filesystem is put together from.

`driver` is what the engine asks for; each driver is a module, imported when a pool of it is used.
"""

from cloison.storage.driver import Driver, Size, Split, Tree, Used

__all__ = ["Driver", "Size", "Split", "Tree", "Used"]
