"""torchvision is imported even where its compiled operators can't be loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def _run(code: str, *, first_on_path: Path | None = None) -> str:
    """Standard output of ``code`` in a fresh interpreter, where nothing has imported torchvision yet."""
    prelude = f"import sys; sys.path.insert(0, {str(_ROOT)!r})\n"
    if first_on_path is not None:
        prelude += f"sys.path.insert(0, {str(first_on_path)!r})\n"
    done = subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _fake_torchvision(folder: Path, body: str) -> Path:
    """A package named torchvision whose import does what the real one's does where it fails."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "early.py").write_text("")
    (package / "__init__.py").write_text("from torchvision import early\n" + body)
    return folder


_REGISTERS_NMS = """
import torch
@torch.library.register_fake("torchvision::nms")
def fake(dets, scores, iou_threshold):
    return dets
"""


def test_the_installed_torchvision_imports_and_its_models_run() -> None:
    out = _run(
        "from gan_lt.torchvision_compat import import_torchvision\n"
        "tv = import_torchvision()\n"
        "assert import_torchvision() is tv is sys.modules['torchvision']\n"
        "import torch\n"
        "from torchvision import datasets, models, transforms\n"
        "print(tuple(models.resnet18().eval()(torch.zeros(1, 3, 32, 32)).shape))\n"
    )
    assert out.strip() == "(1, 1000)"


def test_missing_operators_are_declared_and_stay_declared(tmp_path: Path) -> None:
    fake = _fake_torchvision(tmp_path, _REGISTERS_NMS)
    out = _run(
        "import gc\n"
        "from gan_lt import torchvision_compat as compat\n"
        "try:\n"
        "    import torchvision\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "leftover = sys.modules['torchvision.early']\n"
        "compat.import_torchvision()\n"
        "gc.collect()\n"
        "import torch\n"
        "print(torch.ops.torchvision.nms.default._schema)\n"
        "print(torch.ops.torchvision.qnms.default._schema)\n"
        "print(sys.modules['torchvision.early'] is leftover)\n",
        first_on_path=fake,
    )
    assert out.splitlines() == [
        "operator torchvision::nms does not exist",
        "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "torchvision::qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "False",
    ]


def test_other_failures_pass_through_and_declare_nothing(tmp_path: Path) -> None:
    fake = _fake_torchvision(tmp_path, "raise RuntimeError('libjpeg is the wrong version')\n")
    out = _run(
        "from gan_lt import torchvision_compat as compat\n"
        "try:\n"
        "    compat.import_torchvision()\n"
        "except RuntimeError as error:\n"
        "    print(error, len(compat._declarations))\n",
        first_on_path=fake,
    )
    assert out.strip() == "libjpeg is the wrong version 0"


def test_a_working_torchvision_is_imported_without_declarations(tmp_path: Path) -> None:
    fake = _fake_torchvision(tmp_path, "works = True\n")
    out = _run(
        "from gan_lt import torchvision_compat as compat\n"
        "print(compat.import_torchvision().works, len(compat._declarations))\n",
        first_on_path=fake,
    )
    assert out.strip() == "True 0"
