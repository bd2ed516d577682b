"""Storage: where an instance's own files are, and what its root filesystem is put together from."""

from cloison.storage.overlay import RootLayers, clean, create, layers, remove, usage_bytes

__all__ = ["RootLayers", "clean", "create", "layers", "remove", "usage_bytes"]
