"""The one place that knows which driver carries which kind of instance. Each is imported when it is first needed."""

from cloison.engine.layout import Layout
from cloison.runtime.driver import ContainerDriver


def container_driver(layout: Layout) -> ContainerDriver:
    """The driver of containers for one installation."""
    return ContainerDriver(layout.run, layout.cache)
