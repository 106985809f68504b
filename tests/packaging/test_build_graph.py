"""Native builds by ninja, and the same without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cuda_ops import build_graph
from cuda_ops.build_graph import BuildError, Step, run_steps

COPY = "import sys; open(sys.argv[1], 'w').write('+'.join(open(p).read() for p in sys.argv[2:]))"


def step(output: Path, *inputs: Path) -> Step:
    return Step(output, inputs, (sys.executable, "-c", COPY, str(output), *map(str, inputs)))


@pytest.fixture(params=["ninja", "threads"])
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "threads":
        monkeypatch.setattr(build_graph, "find_ninja", lambda: None)
    elif build_graph.find_ninja() is None:
        pytest.skip("ninja is not installed")
    return str(request.param)


@pytest.mark.usefixtures("runner")
def test_what_others_need_is_made_first_also_in_folders_with_odd_names(tmp_path: Path) -> None:
    folder = tmp_path / "a b$c: d"
    folder.mkdir()
    for name in "xy":
        (folder / name).write_text(name)
    objects = [step(folder / f"{name}.o", folder / name) for name in "xy"]
    run_steps([*objects, step(folder / "xy.so", *(s.output for s in objects))], folder)
    assert (folder / "xy.so").read_text() == "x+y"


@pytest.mark.usefixtures("runner")
def test_the_first_error_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("")
    code = "import sys; sys.exit('in.cpp:3: error: out of luck')"
    failing = Step(tmp_path / "in.o", (tmp_path / "in",), (sys.executable, "-c", code, "-Werror"))
    with pytest.raises(BuildError, match=r"in\.cpp:3: error: out of luck$"):
        run_steps([failing], tmp_path)
