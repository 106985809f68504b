"""Training the cells of the grid: one method, one seed, by the ordinary train path, resumed where it was stopped."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.longtail_methods import Method
from eval.atomic_file import write_text
from gan_lt.classifier import ClassifierSettings, train_classifier
from gan_lt.commands import train_run
from gan_lt.config import TrainConfig, build_config, preset_values
from gan_lt.data import ImageSet
from gan_lt.data.opening import NAMED_SETS
from gan_lt.errors import InputError
from gan_lt.regularizers import REGULARIZERS
from gan_lt.training.dataset import open_training_set
from gan_lt.training.device import choose_device
from gan_lt.training.run_directory import CONFIG_NAME, open_run

MARKER_NAME = "finished.json"
# the grid decides these itself, for all cells alike
_FIXED = ("regularizers", "training.seed", "training.kimg", "data.path")


@dataclass(frozen=True)
class Grid:
    """What all cells share.

    preset, overrides: the common settings, the data's path among them. kimg: the budget. outdir: folder of the cells.
    train: the training images. classifier: folder of CBGAN's classifier, whether or not it is there yet.
    """

    preset: str
    overrides: tuple[str, ...]
    kimg: float
    outdir: Path
    device: str | None
    train: ImageSet
    classifier: Path
    classifier_epochs: int

    def cell_overrides(self, method: Method, seed: int) -> list[str]:
        """Everything that a cell sets over the preset."""
        classifier = []
        own = any(text.startswith("cbgan.classifier=") for text in self.overrides)
        if "cbgan" in method.regularizers and not own:
            classifier = [f"cbgan.classifier={json.dumps(str(self.classifier))}"]
        run = [f"training.seed={seed}", f"training.kimg={self.kimg}"]
        return [*self.overrides, *classifier, *method.overrides(), *run]

    def cell_config(self, method: Method, seed: int) -> TrainConfig:
        """The whole configuration of a cell; raises InputError for what can't be."""
        return build_config(self.preset, {}, self.cell_overrides(method, seed))

    def run(self, method: Method, seed: int) -> Path:
        """The folder of a cell."""
        return self.outdir / f"{method.name}-s{seed}"


def open_grid(
    data: str,
    preset: str,
    overrides: list[str],
    kimg: float | None,
    outdir: Path,
    device: str | None,
    epochs: int,
) -> Grid:
    """Check the common settings and open the training images.

    data: as `train.py --data` takes it. kimg: None for the preset's. epochs: of CBGAN's classifier.

    Raises:
        InputError: bad settings or data, or an override of what the grid sets itself.
    """
    for text in overrides:
        name = text.partition("=")[0]
        if name in _FIXED:
            raise InputError(
                f"{text}: {name} is what the grid varies or fixes; use --methods, --seeds, --kimg"
            )
    path = str(Path(data).resolve()) if data not in NAMED_SETS and Path(data).exists() else data
    common = [f"data.path={json.dumps(path)}"]
    if (preset_values(preset).get("data") or {}).get("path") not in (None, data):
        common.append("data.imbalance=null")  # a preset thins its own data out, not another's
    common += overrides
    # what a classifier is needed for comes later; the data have to be known first
    config = build_config(preset, {"regularizers": []}, [*common, "regularizers=[]"])
    train = open_training_set(config.data)
    known = json.dumps([train.fingerprint(), epochs, config.data.horizontal_flips])
    classifier = outdir.resolve() / f"classifier-{hashlib.sha256(known.encode()).hexdigest()[:12]}"
    budget = config.training.kimg if kimg is None else kimg
    return Grid(preset, tuple(common), budget, outdir, device, train, classifier, epochs)


def train_cell(grid: Grid, method: Method, seed: int) -> bool:
    """Train a cell, or what is left of it. A finished one is left alone, also after a method's code has changed (another
    outdir trains it anew); one with a smaller budget is lengthened.

    Returns:
        Whether it is complete; False when a signal stopped it, with a checkpoint.

    Raises:
        InputError: the folder holds a run of other settings, or the training failed.
    """
    run, config = grid.run(method, seed), grid.cell_config(method, seed)
    device = [] if grid.device is None else ["--device", grid.device]
    if (run / CONFIG_NAME).is_file():
        _require_same(run, open_run(run), config)
        if _finished_kimg(run) == config.training.kimg:
            return True
        arguments = ["--resume", str(run), "--kimg", repr(config.training.kimg), *device]
    else:
        arguments = ["--preset", grid.preset, "--outdir", str(grid.outdir), "--name", run.name, *device]
        arguments += grid.cell_overrides(method, seed)
    if "cbgan" in method.regularizers:
        _classifier(grid, config)
    _, complete = train_run(arguments, prog="benchmarks.longtail")
    if complete:
        write_text(run / MARKER_NAME, json.dumps({"kimg": config.training.kimg}) + "\n")
    return complete


def _finished_kimg(run: Path) -> float | None:
    marker = run / MARKER_NAME
    return float(json.loads(marker.read_text("utf-8"))["kimg"]) if marker.is_file() else None


def _require_same(run: Path, before: TrainConfig, wanted: TrainConfig) -> None:
    old, new = _flat(before.model_dump(mode="json")), _flat(wanted.model_dump(mode="json"))
    reached = max(old.pop("training.kimg"), _finished_kimg(run) or 0)
    if reached > (budget := new.pop("training.kimg")):
        raise InputError(
            f"{run} was made for {reached:g} kimg, --kimg asks for {budget:g}; pass another --outdir or a larger --kimg"
        )
    # the settings of a method that isn't there change nothing, so cells outlive a search for another method's
    unused = tuple(f"{method}." for method in REGULARIZERS if method not in wanted.regularizers)
    for name in sorted(old.keys() | new.keys()):
        if not name.startswith(unused) and old.get(name) != new.get(name):
            raise InputError(
                f"{run} was trained with {name}={old.get(name)}, not {new.get(name)}; pass another --outdir"
            )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    # its name tells classifiers apart; the folder above may have moved
    if flat.get("cbgan.classifier"):
        flat["cbgan.classifier"] = Path(flat["cbgan.classifier"]).name
    return flat


def _classifier(grid: Grid, config: TrainConfig) -> None:
    """Train CBGAN's classifier unless it is there: once for a data set, whatever the seed."""
    if config.cbgan.classifier != str(grid.classifier) or (grid.classifier / "config.json").is_file():
        return
    settings = ClassifierSettings(
        epochs=grid.classifier_epochs, horizontal_flips=config.data.horizontal_flips, seed=0
    )
    print(f"training CBGAN's classifier, {settings.epochs} epochs, once for all cells", file=sys.stderr)
    network = train_classifier(grid.train, settings, choose_device(grid.device))
    network.save_pretrained(grid.classifier)
