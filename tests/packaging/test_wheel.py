"""What pip installs: an sdist and a wheel made from it, used from another folder, in an environment of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from cuda_ops import build
from gan_lt.version import __version__

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(sysconfig.get_path("purelib"))
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv", "runs", "build", "dist", "site", "*.egg-info", "__pycache__", ".*_cache", "*.so"
)


def run(command: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in `cwd`, where nothing of the checkout is on the path; fails the test if it fails."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    variables |= {"OMP_NUM_THREADS": "1", "COLUMNS": "80", **environment}
    result = subprocess.run(
        command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result


def make_wheel(source: Path, folder: Path, **environment: str) -> tuple[Path, str]:
    """The wheel that pip makes of `source` (a folder or an sdist), and what was said on the way."""
    pip = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation", "--no-index"]
    result = run([*pip, "-w", str(folder), str(source)], source.parent, **environment)
    (wheel,) = folder.glob("*.whl")
    return wheel, result.stdout + result.stderr


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE, symlinks=True)
    code = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    run([sys.executable, "-c", code, str(folder)], source)
    (archive,) = folder.glob("*.tar.gz")
    return archive


def have_compiler() -> bool:
    try:
        build.find_compiler()
    except build.BuildError:
        return False
    return True


@pytest.mark.slow
def test_without_a_compiler_the_wheel_is_made_and_says_so(sdist: Path, tmp_path: Path) -> None:
    wheel, said = make_wheel(sdist, tmp_path, CXX="no-such-compiler")
    assert wheel.name == f"gan_lt-{__version__}-py3-none-any.whl"
    assert "kernels for cpu: not built ahead of time, because no C++ compiler (CXX=no-such-compiler" in said
    assert "they are built on first use" in said
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith(".so")]
    for needed in (
        "cuda_ops/csrc/cpu/register.cpp",
        "cuda_ops/csrc/cuda/launch.cu",
        "gan_lt/presets/digits-lt.yaml",
        "eval/templates/report.html.j2",
        "gan_lt/py.typed",
    ):
        assert needed in names
    assert {name.split("/")[0] for name in names} == {
        "gan_lt",
        "cuda_ops",
        "eval",
        f"gan_lt-{__version__}.dist-info",
    }


AGREEMENT = """
import torch
from cuda_ops import bias_act, conv3x3, library, modulated_epilogue, upfirdn2d, use_backend
x = torch.randn(4, 40, 9, 7, generator=torch.Generator().manual_seed(0))
f = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
weight = torch.randn(40, 40, 3, 3, generator=torch.Generator().manual_seed(0))
for image in (x, x.to(memory_format=torch.channels_last)):
    for call in (lambda: upfirdn2d(image, f, up=2, padding=2), lambda: bias_act(image, act="tanh"),
                 lambda: modulated_epilogue(image, torch.ones(4, 40)), lambda: conv3x3(image, weight) / 19):
        with use_backend("native"):
            actual = call()
        with use_backend("reference"):
            torch.testing.assert_close(actual, call(), rtol=1e-5, atol=5e-5)
assert "ahead of time" in library.load("cpu").source
"""


@pytest.mark.slow
@pytest.mark.skipif(not have_compiler(), reason="no C++ compiler here")
def test_the_installed_wheel_trains_generates_and_evaluates_elsewhere(sdist: Path, tmp_path: Path) -> None:
    wheel, said = make_wheel(sdist, tmp_path)
    assert "kernels for cpu: built ahead of time" in said
    assert wheel.name.startswith(f"gan_lt-{__version__}-py3-none-")
    assert not wheel.name.endswith("-any.whl")
    (library,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so"))
    assert library == f"cuda_ops/lib/{build.ahead_library('cpu').name}"

    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    # installed first: afterwards pip would find the checkout that may be installed beside torch
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run([*pip, "install", "--no-deps", "--no-index", str(wheel)], tmp_path)
    (installed,) = home.glob("lib/python*/site-packages")
    (installed / "dependencies.pth").write_text(f"{SITE}\n")

    work = tmp_path / "elsewhere"
    work.mkdir()
    gan_lt = str(home / "bin" / "gan-lt")
    assert run([gan_lt, "--version"], work).stdout == f"gan-lt {__version__}\n"
    cpu = json.loads(run([gan_lt, "doctor", "--json"], work, CXX="no-such-compiler").stdout)["cpu"]
    assert cpu["backend"] == "native"
    assert str(installed) in cpu["source"]
    run([str(python), "-c", AGREEMENT], work, CXX="no-such-compiler")
    run(
        [gan_lt, "train", "--preset", "digits-lt", "--kimg", "0.2", "--name", "r", "training.tick_kimg=1"],
        work,
    )
    run([gan_lt, "generate", "--network", "runs/r", "--outdir", "out", "--per-class", "3"], work)
    assert len(list(work.glob("out/*/*.png"))) == 30
    options = ["--features", "classifier", "--metrics", "fid,prdc", "--replicates", "0", "--quiet"]
    run([gan_lt, "eval", "--real", "digits", "--fake", "out", *options, "--json", "e.json"], work)
    assert json.loads((work / "e.json").read_text())["features"]["name"]
    scripts = run([gan_lt, "completion", "bash"], work).stdout
    assert "--per-class" in scripts
