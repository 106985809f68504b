"""Compiling the native kernels: finding the tools, the commands, libraries built ahead of time.

Imports nothing outside the standard library, nor the package itself, so that `setup.py` can use it without torch.

Two kinds of build:
- ahead of time, `build_ahead(directory)`: one library for any CPU of this architecture (on x86-64 four instruction sets,
  chosen when loaded), put beside the package;
- on first use (cuda_ops/build_cache.py): for this machine's CPU alone, in a cache directory.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cuda_ops.build_graph import BuildError as BuildError
from cuda_ops.build_graph import Step, run_steps
from cuda_ops.build_graph import run_commands as run_commands

PACKAGE = Path(__file__).resolve().parent
SOURCES = PACKAGE / "csrc"
AHEAD = PACKAGE / "lib"

CPU_KERNELS = (
    *(
        "upfirdn2d.cpp",
        "epilogue.cpp",
        "epilogue_grad.cpp",
        "resize.cpp",
        "winograd.cpp",
        "winograd_grad.cpp",
    ),
    *("winograd_down.cpp", "winograd_up.cpp", "winograd_down_grad.cpp"),
)
# x86-64 levels of the psABI: every CPU, AVX2 and FMA (2013 on), AVX-512; and AVX-512 with bfloat16 (2020 on).
X86_LEVELS = {
    "x86_64": ("-march=x86-64",),
    "x86_64_v3": ("-march=x86-64-v3",),
    "x86_64_v4": ("-march=x86-64-v4",),
    "x86_64_v4_bf16": ("-march=x86-64-v4", "-mavx512bf16"),
}
# The kernels never read errno or floating-point flags; without these two promises loops with selects do not vectorise.
KERNEL_FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fopenmp-simd")
CXX_FLAGS = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
# The oldest torch whose stable ABI has all that is used here (2.10: parallel_for, to, contiguous).
TORCH_TARGET = "-DTORCH_TARGET_VERSION=0x020a000000000000"


@dataclass(frozen=True)
class Torch:
    """An installed torch, found without importing it."""

    version: str
    directory: Path
    cuda: str | None = None  # the CUDA release it is built for

    @property
    def include(self) -> Path:
        return self.directory / "include"

    @property
    def lib(self) -> Path:
        return self.directory / "lib"


def find_torch() -> Torch:
    """The installed torch.

    Raises:
        BuildError: torch is not installed, or without its headers.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise BuildError("torch is not installed")
    directory = Path(spec.origin).parent
    if not (directory / "include" / "torch" / "csrc" / "stable" / "library.h").is_file():
        raise BuildError(f"torch at {directory} comes without the headers of its stable ABI")
    version: dict[str, str] = {}
    for line in (directory / "version.py").read_text().splitlines():
        name, _, value = line.partition("=")
        version[name.split(":")[0].strip()] = value.strip().strip("'\"")
    cuda = version.get("cuda", "None")
    return Torch(version.get("__version__", "unknown"), directory, None if cuda == "None" else cuda)


def find_compiler() -> str:
    """The C++ compiler: $CXX, else c++, g++ or clang++ on the path.

    Raises:
        BuildError: there is none.
    """
    chosen = os.environ.get("CXX")
    for name in [chosen] if chosen else ["g++", "c++", "clang++"]:
        path = shutil.which(name)
        if path:
            return path
    raise BuildError(
        f"no C++ compiler ({'CXX=' + chosen if chosen else 'g++, c++ or clang++'} is not on the path)"
    )


def compiler_version(compiler: str) -> str:
    """The compiler's first line about itself."""
    result = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=60, check=False)
    return (result.stdout or result.stderr).partition("\n")[0].strip()


def nvcc_version() -> str | None:
    """nvcc's release line, or None where it is not on the path."""
    path = shutil.which("nvcc")
    if path is None:
        return None
    result = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False)
    return next((line.strip() for line in result.stdout.splitlines() if "release" in line), "unknown")


def source_hash() -> str:
    """A digest of every native source and of this file, which holds their compiler flags."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(p for p in SOURCES.rglob("*") if p.suffix in {".h", ".cpp", ".cu", ".cuh"}):
        digest.update(path.relative_to(SOURCES).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def ahead_library(name: str) -> Path:
    """Where `build_ahead` puts the library `name` ("cpu" or "cuda") of these very sources."""
    return AHEAD / f"gan_lt_{name}-{source_hash()}.so"


def _x86_64() -> bool:
    return platform.machine().lower() in {"x86_64", "amd64"}


def _link(
    compiler: str, torch: Torch, objects: Sequence[Path], target: Path, libraries: Sequence[str]
) -> list[str]:
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    return [
        compiler,
        "-shared",
        *map(str, objects),
        "-o",
        str(target),
        f"-L{torch.lib}",
        *libraries,
        *undefined,
    ]


def compile_cpu(target: Path, portable: bool) -> None:
    """Compile the CPU library to `target`.

    Args:
        target: the shared library to write; its folder exists.
        portable: for any CPU of this architecture instead of this machine's.

    Raises:
        BuildError: no compiler, no torch, or a compiler error.
    """
    target = target.absolute()  # ninja runs in another folder
    if sys.platform == "win32":
        raise BuildError("the native kernels have no Windows build yet")
    torch, compiler = find_torch(), find_compiler()
    levels: dict[str, list[str]]
    if not portable:
        levels = {"native": ["-march=native" if _x86_64() else "-mcpu=native"]}
    elif _x86_64():
        levels = {name: list(flags) for name, flags in X86_LEVELS.items()}
    else:
        levels = {"native": []}
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
        steps: list[Step] = []

        def add(source: Path, name: str, flags: Sequence[str]) -> None:
            output = Path(folder) / f"{name}.o"
            command = (compiler, *CXX_FLAGS, *flags, "-c", str(source), "-o", str(output))
            steps.append(Step(output, (source,), command))

        several = ["-DGAN_LT_MULTIVERSION"] if len(levels) > 1 else []
        # First the file with torch's headers: it takes longest.
        add(
            SOURCES / "cpu" / "register.cpp",
            "register",
            ["-O1", TORCH_TARGET, "-isystem", str(torch.include), *several],
        )
        for level, flags in levels.items():
            for kernel in CPU_KERNELS:
                add(
                    SOURCES / "cpu" / kernel,
                    f"{level}-{kernel}",
                    [*KERNEL_FLAGS, f"-DGAN_LT_ISA={level}", *flags],
                )
        objects = tuple(step.output for step in steps)
        library = Path(folder) / target.name
        link = _link(compiler, torch, objects, library, ["-ltorch_cpu"])
        run_steps([*steps, Step(library, objects, tuple(link))], Path(folder))
        os.replace(library, target)


# Devices that an ahead-of-time library holds machine code for (Ampere to Blackwell); later ones compile its PTX.
CUDA_ARCHITECTURES = ("80", "86", "89", "90", "100")
CUDA_SOURCES = ("upfirdn2d.cu", "epilogue.cu", "launch.cu")


def find_nvcc() -> str:
    """nvcc: $CUDACXX, $CUDA_HOME/bin, or on the path.

    Raises:
        BuildError: there is none.
    """
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    for name in (os.environ.get("CUDACXX"), f"{home}/bin/nvcc" if home else None, "nvcc"):
        path = shutil.which(name) if name else None
        if path:
            return path
    raise BuildError("nvcc is not on the path")


def cuda_compile_command(
    nvcc: str, source: Path, target: Path, architectures: Sequence[str] = CUDA_ARCHITECTURES
) -> list[str]:
    """nvcc on one file: warnings are errors, and so are register spills and stacks in local memory."""
    codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
    newest = architectures[-1]
    return [
        *(nvcc, "-std=c++17", "-O3", "-c", str(source), "-o", str(target), "--threads", "0"),
        *(*codes, f"-gencode=arch=compute_{newest},code=compute_{newest}"),
        *("-Xcompiler", "-fPIC,-fvisibility=hidden", "-Werror", "all-warnings"),
        *("-Xptxas", "-v,-warn-spills,-warn-lmem-usage"),
    ]


def compile_cuda(target: Path, architectures: Sequence[str] = CUDA_ARCHITECTURES) -> None:
    """Compile the CUDA library to `target`, whose folder exists; needs nvcc, and neither torch nor a GPU.

    Raises:
        BuildError: no nvcc, or a compiler error.
    """
    target = target.absolute()  # ninja runs in another folder
    nvcc = find_nvcc()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
        steps = [
            Step(path, (source,), tuple(cuda_compile_command(nvcc, source, path, architectures)))
            for source, path in (
                (SOURCES / "cuda" / name, Path(folder) / f"{name}.o") for name in CUDA_SOURCES
            )
        ]
        objects = tuple(step.output for step in steps)
        library = Path(folder) / target.name
        link = (nvcc, "-shared", "-cudart", "static", *map(str, objects), "-o", str(library))
        run_steps([*steps, Step(library, objects, link)], Path(folder))
        os.replace(library, target)


def cuda_source(name: str) -> str:
    """One self-contained source for NVRTC: csrc/cuda/`name`_kernels.cuh with its includes pasted in.

    The standard headers that host compilers need are left out: NVRTC has none and needs none.
    """
    seen: set[Path] = set()

    def expand(path: Path) -> str:
        if path in seen:
            return ""
        seen.add(path)
        lines = []
        for line in path.read_text().splitlines():
            if line.startswith('#include "'):
                lines.append(expand((path.parent / line.split('"')[1]).resolve()))
            elif not line.startswith("#pragma once"):
                lines.append(line)
        return "\n".join(lines)

    return expand((SOURCES / "cuda" / f"{name}_kernels.cuh").resolve())


def _compile_wanted_cuda(target: Path) -> None:
    """compile_cuda where the installed torch can use it or $GAN_LT_CUDA_ARCHS asks for it: it takes minutes."""
    chosen = os.environ.get("GAN_LT_CUDA_ARCHS", "").replace(",", " ").split()
    if not chosen and find_torch().cuda is None:
        raise BuildError(
            "the installed torch has no CUDA; set GAN_LT_CUDA_ARCHS (such as '80 90') to build it anyway"
        )
    compile_cuda(target, chosen or CUDA_ARCHITECTURES)


def build_ahead(directory: Path | None = None) -> dict[str, Path | str]:
    """Build what can be built here, portable, for a wheel or an editable install.

    Args:
        directory: where the libraries go; None is cuda_ops/lib beside this file.

    Returns:
        {"cpu": path | reason, "cuda": path | reason}; a reason is one sentence saying why that library was not built.
    """
    folder = directory or AHEAD
    folder.mkdir(parents=True, exist_ok=True)
    built: dict[str, Path | str] = {}
    for name, compile_library in (
        ("cpu", lambda path: compile_cpu(path, portable=True)),
        ("cuda", _compile_wanted_cuda),
    ):
        path = folder / ahead_library(name).name
        for stale in folder.glob(f"gan_lt_{name}-*.so"):
            if stale != path:
                stale.unlink()
        try:
            compile_library(path)
            built[name] = path
        except BuildError as error:
            built[name] = str(error)
    return built
