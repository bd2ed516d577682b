"""From a reference to an image: found, or built by its template.

Builds of the same request wait for each other on `builds/<key>.lock`, and who waited finds the other's image. What is
built is in a workspace until the store takes it over by a rename, so an interrupted build is no image; its programs
end with the thread that builds.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from cloison.base.errors import Host, Remote
from cloison.images.image import Image
from cloison.images.store import ImageStore
from cloison.kernel.locks import exclusive

if TYPE_CHECKING:
    from cloison.images.templates import Request, Template

Progress = Callable[[str, int, int | None], None]


def _in_silence(_stage: str, _done: int, _total: int | None) -> None:
    """Nobody listens."""


def obtain(
    store: ImageStore,
    reference: str,
    *,
    options: Mapping[str, str] | None = None,
    rebuild: bool = False,
    own_templates: str = "",
    program: str = "",
    progress: Progress | None = None,
) -> Image:
    """The image behind `reference`: a name or digest in the store, or `template[/release]`, built where needed.

    `options` are the template's; with `rebuild` the names go to a new image. `own_templates` is the directory of the
    host's own; with `program`, that is the template, and `reference` what its image is called. `progress` hears (stage,
    done, total), total None where nobody knows it.
    Raises Invalid, Unsupported, Denied, NoSpace, Remote, Host; see `templates`."""
    if not options and not rebuild:
        known = store.known(reference)
        if known is not None:
            return known
    from cloison.images.templates import executable, template

    name, _, release = (reference, "", "") if program else reference.partition("/")
    recipe: Template = executable.at(program, name) if program else template(name, own_templates)
    request = recipe.resolve(release, options or {})
    if not rebuild and (known := store.known(request.names[0])):
        return known
    return _build(store, recipe, request, progress or _in_silence, store.known(request.names[0]))


def _build(
    store: ImageStore, recipe: "Template", request: "Request", progress: Progress, before: Image | None
) -> Image:
    """Build `request`, unless somebody else does so meanwhile: then theirs is taken. `before` is the image so far."""
    from cloison.base.disk import full_disk_named
    from cloison.images import layers
    from cloison.images.workspace import workspace

    store.prepare()
    store.clean()
    with alone(store, request.key, progress):
        now = store.known(request.names[0])
        if now is not None and (before is None or now.created != before.created or now.digest != before.digest):
            return now
        with full_disk_named(store.root, what="images"), workspace(store.tmp_dir, store.lock_path) as work:
            with _log_kept(work.log, f"{store.root}/last-build.log"):
                facts = recipe.build(request, work, progress)
            layer = layers.measure(work.rootfs, lambda done: progress("measure", done, None))
            progress("store", 0, None)
            layers.settle(work.rootfs)
            return store.add(work.rootfs, layer, facts)


def is_at_work(store: ImageStore, key: str) -> bool:
    """Whether somebody builds this just now."""
    path = f"{store.builds_dir}/{key}.lock"
    if not os.path.exists(path):
        return False
    try:
        with exclusive(path):
            return False
    except BlockingIOError:
        return True


@contextlib.contextmanager
def alone(store: ImageStore, key: str, progress: Progress) -> Iterator[None]:
    """Be the only one who builds this, after waiting for who does so; `key` is as that of a request."""
    path = f"{store.builds_dir}/{key}.lock"
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(exclusive(path))
        except BlockingIOError:
            progress("wait", 0, None)
            held.enter_context(exclusive(path, timeout_s=None))
        try:
            yield
        finally:
            os.unlink(path)


@contextlib.contextmanager
def _log_kept(log: str, kept: str) -> Iterator[None]:
    """Move the log of a build to where it stays, and say so where the build fails."""
    try:
        yield
    except (Host, Remote) as failure:
        if os.path.exists(log):
            failure.hint = failure.hint or f"everything that was said is in {kept}"
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.rename(log, kept)
