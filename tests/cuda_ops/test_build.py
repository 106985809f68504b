"""The build: racing processes, a home that cannot be written, a missing or broken compiler, names of cached files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cuda_ops import build, build_cache, library

ROOT = Path(build.__file__).parent.parent

pytestmark = pytest.mark.skipif(
    library.unavailable("cpu") is not None, reason=f"no native build here: {library.unavailable('cpu')}"
)


def start(code: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """A fresh interpreter that uses bias_act and prints which backend served it."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


USE = """
    import warnings, torch
    from cuda_ops import bias_act, backend_info
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            y = bias_act(torch.tensor([[-1.0, 2.0]]), act="relu", gain=1.0)
    assert y.tolist() == [[0.0, 2.0]]
    info = backend_info()["cpu"]
    print(info["backend"], sum("reference" in str(w.message) for w in seen), info["reason"], info["source"])
"""


@pytest.fixture
def no_ahead_library(monkeypatch):
    ahead = build.ahead_library("cpu")
    if ahead.is_file():
        pytest.skip(f"the library built ahead of time would be used: {ahead}")


@pytest.mark.slow
@pytest.mark.usefixtures("no_ahead_library")
def test_racing_processes_build_one_library(tmp_path):
    processes = [start(USE, {"GAN_LT_CACHE": str(tmp_path)}) for _ in range(3)]
    outputs = [p.communicate(timeout=300) for p in processes]
    assert all(out.startswith("native 0") for out, _ in outputs), outputs
    libraries = list((tmp_path / "native").glob("*.so"))
    assert len(libraries) == 1
    assert not list((tmp_path / "native").glob(".build-*"))


@pytest.mark.usefixtures("no_ahead_library")
def test_without_a_compiler_the_reference_runs_with_one_warning(tmp_path):
    process = start(USE, {"GAN_LT_CACHE": str(tmp_path), "CXX": "no-such-compiler"})
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith("reference 1")
    assert "no-such-compiler" in out


@pytest.mark.usefixtures("no_ahead_library")
def test_a_broken_compiler_is_quoted(tmp_path):
    broken = tmp_path / "broken-cxx"
    broken.write_text("#!/bin/sh\necho 'error: out of luck' >&2\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    process = start(USE, {"GAN_LT_CACHE": str(tmp_path), "CXX": str(broken)})
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith("reference 1")
    assert "out of luck" in out


def test_the_temporary_folder_serves_where_the_cache_cannot_be_written(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv(
        "GAN_LT_CACHE", str(blocked / "below")
    )  # a folder below a file can't be made, even by root
    monkeypatch.setattr(build_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    compiled = []

    def compile_cpu(target, portable):
        compiled.append(target)
        target.write_bytes(b"library")

    monkeypatch.setattr(build, "compile_cpu", compile_cpu)
    path = build_cache.cached_cpu_library()
    assert path.parent.is_relative_to(tmp_path)
    assert build_cache.cached_cpu_library() == path
    assert len(compiled) == 1
    monkeypatch.setattr(build_cache.tempfile, "gettempdir", lambda: str(blocked))
    monkeypatch.setattr(build_cache, "cache_folders", lambda: [blocked / "a", blocked / "b"])
    with pytest.raises(build.BuildError, match="GAN_LT_CACHE"):
        build_cache.cached_cpu_library()


def test_a_user_without_home_has_a_cache(tmp_path, monkeypatch):
    for name in ("GAN_LT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(build_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    home, temporary = build_cache.cache_folders()
    assert home == tmp_path / "home" / ".cache" / "gan_lt" / "native"
    with monkeypatch.context() as unknown:
        unknown.setattr(os.path, "expanduser", lambda path: path)
        assert build_cache.cache_folders() == [temporary]

    def no_temporary_folder():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(build_cache.tempfile, "gettempdir", no_temporary_folder)
    assert build_cache.cache_folders() == [home]


def test_the_cached_name_follows_sources_torch_and_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_LT_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "compile_cpu", lambda target, portable: target.write_bytes(b""))
    names = {build_cache.cached_cpu_library().name}
    monkeypatch.setattr(build, "source_hash", lambda: "other")
    names.add(build_cache.cached_cpu_library().name)
    monkeypatch.setattr(build, "compiler_version", lambda compiler: "other")
    names.add(build_cache.cached_cpu_library().name)
    torch = build.find_torch()
    monkeypatch.setattr(build, "find_torch", lambda: build.Torch("9.9.9", torch.directory))
    names.add(build_cache.cached_cpu_library().name)
    assert len(names) == 4


def test_build_imports_without_torch():
    code = """
        import sys, types
        sys.modules["torch"] = None  # importing it now fails
        package = types.ModuleType("cuda_ops")  # as setup.py does: without __init__.py, which imports torch
        package.__path__ = ["cuda_ops"]
        sys.modules["cuda_ops"] = package
        import cuda_ops.build
        print(len(cuda_ops.build.source_hash()))
    """
    process = start(code, {})
    out, err = process.communicate(timeout=60)
    assert out.strip() == "16", err


def test_what_is_built_ahead_is_named_and_old_libraries_go(tmp_path, monkeypatch):
    """That such a library works is the installed wheel's test."""
    monkeypatch.delenv("GAN_LT_CUDA_ARCHS", raising=False)
    portables = []

    def compile_cpu(target, portable):
        portables.append(portable)
        target.write_bytes(b"library")

    monkeypatch.setattr(build, "compile_cpu", compile_cpu)
    (tmp_path / "gan_lt_cpu-0123.so").write_bytes(b"of another version")
    built = build.build_ahead(tmp_path)
    assert built["cpu"] == tmp_path / build.ahead_library("cpu").name, built
    assert portables == [True]
    assert list(tmp_path.glob("gan_lt_cpu-*.so")) == [built["cpu"]]
    if build.find_torch().cuda is None:
        assert "GAN_LT_CUDA_ARCHS" in built["cuda"]
