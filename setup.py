"""Packaging of gan_lt: what is installed, and the kernels of cuda_ops compiled ahead of time into the wheel.

The wheel brings the CPU's kernels wherever a C++ compiler and torch are found, and the CUDA kernels where nvcc is, too.
Where they can't be built a sentence says why and the wheel is made without them: the first use then builds them, and
failing that the PyTorch reference runs. An editable install builds on first use, for the machine's own CPU.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

from setuptools import Distribution, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
VERSION: dict[str, str] = {}
exec((ROOT / "gan_lt" / "version.py").read_text(), VERSION)  # noqa: S102 - our own file, the one place of the version

if importlib.util.find_spec("torch") is None:
    # pip hides what is installed from an isolated build; the headers of that torch are the right ones all the same
    sys.path.append(sysconfig.get_path("purelib"))


def native_build() -> types.ModuleType:
    """cuda_ops.build, without cuda_ops/__init__.py, which imports torch."""
    package = types.ModuleType("cuda_ops")
    package.__path__ = [str(ROOT / "cuda_ops")]
    sys.modules.setdefault("cuda_ops", package)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module("cuda_ops.build")


class KernelsAhead(build_py):
    """Copy the packages, then compile the kernels beside them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib) / "cuda_ops" / "lib"
        try:
            built = native_build().build_ahead(folder.resolve())
        except Exception as error:  # whatever goes wrong here, the package works without
            built = {"cpu": f"{type(error).__name__}: {error}"}
        for device, result in built.items():
            if isinstance(result, Path):
                print(f"kernels for {device}: built ahead of time", file=sys.stderr)
            else:
                print(f"kernels for {device}: not built ahead of time, because {result}", file=sys.stderr)
        if not any(folder.glob("*.so")):
            shutil.rmtree(folder, ignore_errors=True)
            print("they are built on first use where that is possible", file=sys.stderr)


class PlatformDistribution(Distribution):
    """A wheel of this platform wherever the kernels can be compiled."""

    def has_ext_modules(self) -> bool:
        build = native_build()
        try:
            build.find_torch(), build.find_compiler()
        except build.BuildError:
            return False
        return True


class AnyPythonWheel(bdist_wheel):
    """The library is not tied to a Python or torch version: it uses LibTorch's stable ABI and no Python."""

    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform = super().get_tag()
        return "py3", "none", platform


HUB = ["huggingface-hub>=1.0"]
ONNX = ["onnx>=1.16", "onnxscript>=0.5", "onnxruntime>=1.18"]
APP = ["gradio>=6"]
WEBDATASET = ["webdataset>=0.2.86"]
TESTS = [
    "pytest>=8",
    "pytest-xdist>=3.5",
    "pytest-cov>=7",
    "coverage>=7.10",
    "mutmut>=3.8",
    "hypothesis>=6.100",
    "torch-fidelity>=0.3",
    "prdc>=0.2",
    "playwright>=1.40",
    "matplotlib>=3.8",
]
LINT = ["ruff>=0.6", "mypy>=1.11", "types-PyYAML"]
DOCS = ["mkdocs>=1.6", "mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"]

options: dict[str, Any] = {
    "name": "gan_lt",
    "version": VERSION["__version__"],
    "description": "Class-conditional GANs for imbalanced image data: train, sample balanced sets, evaluate class by class",
    "long_description": (ROOT / "README.md").read_text(encoding="utf-8"),
    "long_description_content_type": "text/markdown",
    "license": "Apache-2.0",
    "python_requires": ">=3.11,<3.14",
    "packages": find_packages(include=["gan_lt", "gan_lt.*", "cuda_ops", "cuda_ops.*", "eval", "eval.*"]),
    "package_data": {
        "gan_lt": ["presets/*.yaml", "interop/templates/*", "py.typed"],
        "cuda_ops": ["csrc/*.h", "csrc/cpu/*", "csrc/cuda/*", "py.typed"],
        "eval": ["templates/*", "py.typed"],
    },
    "install_requires": [
        "torch>=2.11",
        "torchvision>=0.26",
        "ninja>=1.11",
        "numpy>=1.26",
        "scipy>=1.11",
        "pillow>=10.3",
        "clean-fid>=0.1.35",
        "scikit-learn>=1.4",
        "safetensors>=0.4.3",
        "pydantic>=2.7",
        "pyyaml>=6.0",
        "rich>=13.7",
        "jinja2>=3.1.4",
        "tensorboard>=2.16",
        "shtab>=1.7",
    ],
    "extras_require": {
        "hub": HUB,
        "onnx": ONNX,
        "app": APP,
        "webdataset": WEBDATASET,
        "dev": [*TESTS, *LINT, *DOCS, *HUB, *ONNX, *APP, *WEBDATASET],
    },
    "entry_points": {"console_scripts": ["gan-lt=gan_lt.cli:main"]},
    "cmdclass": {"build_py": KernelsAhead, "bdist_wheel": AnyPythonWheel},
    "distclass": PlatformDistribution,
}

if __name__ == "__main__":
    setup(**options)
