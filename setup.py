"""Packaging of gan_lt. The kernels of cuda_ops are compiled on first use and cached, so no compiler is needed to install."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION: dict[str, str] = {}
exec((ROOT / "gan_lt" / "version.py").read_text(), VERSION)  # noqa: S102 - our own file, the one place of the version

setup(
    name="gan_lt",
    version=VERSION["__version__"],
    description="Class-conditional GANs for imbalanced image data: train, sample balanced sets, evaluate class by class",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["gan_lt", "gan_lt.*", "cuda_ops", "cuda_ops.*", "eval", "eval.*"]),
    package_data={
        "gan_lt": ["presets/*.yaml", "interop/templates/*", "py.typed"],
        "cuda_ops": ["csrc/*.h", "csrc/cpu/*", "csrc/cuda/*", "py.typed"],
        "eval": ["templates/*", "py.typed"],
    },
    install_requires=[
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
    ],
    extras_require={
        "hub": ["huggingface-hub>=1.0"],
        "onnx": ["onnx>=1.16", "onnxscript>=0.5", "onnxruntime>=1.18"],
        "dev": [
            "pytest>=8",
            "hypothesis>=6.100",
            "ruff>=0.6",
            "mypy>=1.11",
            "types-PyYAML",
            "torch-fidelity>=0.3",
            "prdc>=0.2",
            "playwright>=1.40",
            "huggingface-hub>=1.0",
            "onnx>=1.16",
            "onnxruntime>=1.18",
            "onnxscript>=0.5",
        ],
    },
    entry_points={"console_scripts": ["gan-lt=gan_lt.cli:main"]},
)
