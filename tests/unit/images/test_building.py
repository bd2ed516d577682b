import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cloison.base.errors import Invalid, NoSpace
from cloison.images import Facts, Image, ImageStore, obtain
from cloison.images.templates.template import Option, Progress, Request, chosen
from cloison.images.workspace import Workspace
from tests.unit.images.conftest import facts


class Tiny:
    """A template that writes one file; it counts its builds, and calls `meanwhile` during each."""

    NAME = "tiny"
    SUMMARY = "one file"
    RELEASES = ("1",)
    OPTIONS = (Option("colour", "of the file"),)

    def __init__(self) -> None:
        self.builds = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def resolve(self, release: str, options: Mapping[str, str]) -> Request:
        return Request("tiny", release or "1", chosen("tiny", self.OPTIONS, options), ("tiny/first",))

    def build(self, request: Request, workspace: Workspace, progress: Progress) -> Facts:
        self.builds += 1
        Path(workspace.rootfs, "file").write_text(f"{request.option('colour')} {self.builds}")
        Path(workspace.log).write_text("what the programs said\n")
        progress("files", 1, 1)
        self.meanwhile()
        return facts(*request.names)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Tiny:
    template = Tiny()
    monkeypatch.setitem(sys.modules, "cloison.images.templates.tiny", template)
    monkeypatch.setattr("cloison.images.templates.registry._MODULES", ("tiny",))
    return template


def test_the_first_time_it_is_built_and_then_found(store: ImageStore, tiny: Tiny) -> None:
    image = obtain(store, "tiny")
    assert image.names == ("tiny/1", "tiny/first")
    assert all(obtain(store, name) == image for name in ("tiny", "tiny/1", "tiny/first", image.digest[:20]))
    assert tiny.builds == 1


def test_a_rebuild_takes_the_names_over(store: ImageStore, tiny: Tiny) -> None:
    old = obtain(store, "tiny")
    new = obtain(store, "tiny", rebuild=True)
    assert new.digest != old.digest
    assert store.find("tiny/1") == new


def test_options_make_another_image_under_another_name(store: ImageStore, tiny: Tiny) -> None:
    plain, red = obtain(store, "tiny"), obtain(store, "tiny", options={"colour": "red"})
    assert red.names != plain.names and red.names[0].startswith("tiny/1+")
    assert obtain(store, "tiny", options={"colour": "red"}) == red
    assert obtain(store, red.names[0]) == red
    assert obtain(store, "tiny", options={"colour": ""}) == plain


def test_an_unknown_template_names_those_that_there_are(store: ImageStore, tiny: Tiny) -> None:
    with pytest.raises(Invalid, match="no image and no template 'big'") as wrong:
        obtain(store, "big/1")
    assert wrong.value.hint == "the templates are tiny"


def test_an_unknown_option_names_those_that_there_are(store: ImageStore, tiny: Tiny) -> None:
    with pytest.raises(Invalid, match="no option 'color'") as wrong:
        obtain(store, "tiny", options={"color": "red"})
    assert wrong.value.hint == "there is colour"


def test_progress_is_told_and_the_log_is_kept(store: ImageStore, tiny: Tiny) -> None:
    heard: list[tuple[str, int, int | None]] = []
    obtain(store, "tiny", progress=lambda stage, done, total: heard.append((stage, done, total)))
    assert [stage for stage, _, _ in heard] == ["files", "measure", "store"]
    assert Path(store.root, "last-build.log").read_text() == "what the programs said\n"


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), Invalid("no"), OSError(28, "No space left on device")])
def test_what_fails_leaves_no_image_and_no_file(store: ImageStore, tiny: Tiny, problem: BaseException) -> None:
    def fail() -> None:
        raise problem

    tiny.meanwhile = fail
    with pytest.raises(NoSpace if isinstance(problem, OSError) else type(problem)):
        obtain(store, "tiny")
    assert store.images() == ()
    assert [os.listdir(path) for path in (store.tmp_dir, store.layers_dir, store.builds_dir)] == [[], [], []]


def test_two_who_want_the_same_build_it_once(store: ImageStore, tiny: Tiny) -> None:
    is_building, may_end = threading.Event(), threading.Event()
    images: list[Image] = []
    heard: list[str] = []
    is_waiting = threading.Event()

    def meanwhile() -> None:
        is_building.set()
        assert may_end.wait(10)

    def hear(stage: str, _done: int, _total: int | None) -> None:
        heard.append(stage)
        is_waiting.set()

    tiny.meanwhile = meanwhile
    first = threading.Thread(target=lambda: images.append(obtain(store, "tiny")))
    second = threading.Thread(target=lambda: images.append(obtain(store, "tiny", progress=hear)))
    first.start()
    assert is_building.wait(10)
    second.start()
    assert is_waiting.wait(10)
    may_end.set()
    first.join()
    second.join()
    assert tiny.builds == 1
    assert heard == ["wait"]
    assert images[0] == images[1]


def test_finding_imports_nothing_that_builds(tmp_path: Path) -> None:
    code = (
        "import sys; from cloison.images import ImageStore, obtain; ImageStore(sys.argv[1]).images();"
        "heavy = {'subprocess', 'tarfile', 'hashlib', 'shutil', 'cloison.images.templates'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code, f"{tmp_path}/images"]) == 0
