import os
from pathlib import Path

import pytest

from cloison.base.errors import Unsupported
from cloison.plan.plan import Plan
from cloison.runtime.launcher import launch, plan_in_memory


@pytest.mark.parametrize("is_privileged", [False, True])
def test_a_launcher_that_is_not_there_leaves_no_descriptor_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_privileged: bool
) -> None:
    monkeypatch.setenv("CLOISON_LAUNCHER", str(tmp_path / "launcher"))
    plan = plan_in_memory(Plan("nothing", ()))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(Unsupported, match="is not there") as refused:
        launch(plan, name="cloison: nothing", is_privileged=is_privileged)
    assert refused.tb is not None, "which would keep a forgotten socket alive"
    assert os.listdir("/proc/self/fd") == before
    os.close(plan)
