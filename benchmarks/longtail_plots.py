"""Pictures of the grid: measures by class, ordered by training count, and training curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.longtail_tables import CLASS_MEASURES, Cells, by_count, class_values, mean_spread, results_of

_BARS_UP_TO = 20  # classes; more are drawn as lines
_CURVES = {"D/adversarial": "discriminator's loss", "G/adversarial": "generator's loss"}
_SMOOTHED_TICKS = 5


def plot_classes(cells: Cells, folder: Path) -> list[Path]:
    """A PNG for each measure: a bar a method in every class, the most common class first, with the spread over seeds."""
    shown = {name: row for name, row in cells.items() if results_of(row)}
    if not shown:
        return []
    from matplotlib.figure import Figure

    classes = by_count(results_of(next(iter(shown.values())))[0])
    place, width = np.arange(len(classes)), 0.84 / len(shown)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for key, title in CLASS_MEASURES.items():
        figure = Figure(figsize=(12, 4.2), layout="constrained")
        axes = figure.subplots()
        for k, (name, row) in enumerate(shown.items()):
            found = [mean_spread(class_values(row, entry["name"], key)) for entry in classes]
            means = [np.nan if mean is None else mean for mean, _ in found]
            spreads = [spread or 0.0 for _, spread in found]
            colour = f"C{k}" if k < 10 else f"{0.2 + 0.6 * (k - 10) / max(1, len(shown) - 10):.2f}"
            if len(classes) <= _BARS_UP_TO:
                x = place + (k - (len(shown) - 1) / 2) * width
                error = {"elinewidth": 0.8, "ecolor": "0.3"}
                axes.bar(x, means, width, yerr=spreads, label=name, color=colour, error_kw=error)
            else:
                axes.plot(place, means, label=name, color=colour, linewidth=1)
        if len(classes) <= _BARS_UP_TO:
            axes.set_xticks(place, [f"{entry['name']}\n{entry['n_train']}" for entry in classes])
            axes.set_xlabel("class, and its training images")
        else:
            axes.set_xlabel("class, by training images, the rarest last")
        axes.set_title(title)
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        figure.legend(loc="outside right upper", frameon=False)
        files.append(folder / f"classes-{key.removesuffix('_equal')}.png")
        figure.savefig(files[-1], dpi=110)
    return files


def plot_curves(runs: Mapping[str, Sequence[Path]], folder: Path) -> list[Path]:
    """training-curves.png: losses over kimg, a line a run, a colour a method; runs without statistics are left out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    panels = figure.subplots(1, len(_CURVES), squeeze=False)[0]
    drawn = False
    for k, (name, paths) in enumerate(runs.items()):
        for n, file in enumerate(file for path in paths if (file := path / "stats.jsonl").is_file()):
            # a tick done again after a resume replaces the first
            by_kimg = {tick["kimg"]: tick for tick in map(json.loads, file.read_text("utf-8").splitlines())}
            ticks = [by_kimg[kimg] for kimg in sorted(by_kimg)]
            for axes, key in zip(panels, _CURVES, strict=True):
                points = [(tick["kimg"], tick[key]) for tick in ticks if key in tick]
                if points:
                    kimg, loss = np.array(points).T
                    label = name if n == 0 else None
                    axes.plot(kimg, _smoothed(loss), color=f"C{k % 10}", label=label, linewidth=1)
                    drawn = True
    if not drawn:
        return []
    for axes, title in zip(panels, _CURVES.values(), strict=True):
        axes.set(title=title, xlabel="kimg")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "training-curves.png"
    figure.savefig(target, dpi=110)
    return [target]


def _smoothed(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[float]:
    """Mean over the last five ticks."""
    starts = np.maximum(np.arange(len(values)) - _SMOOTHED_TICKS + 1, 0)
    return [float(values[start : k + 1].mean()) for k, start in enumerate(starts)]
