"""An order for a synthetic set: everything that its bytes depend on, and how the manifest tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_lt.data import ImageSet
from gan_lt.sampling.contents import SetContents
from gan_lt.sampling.encoding import Encoding
from gan_lt.sampling.plan import SamplingPlan
from gan_lt.sampling.selecting import Selected
from gan_lt.sampling.selection import Selection
from gan_lt.sampling.set_formats import SetFormat
from gan_lt.sampling.truncation import TruncationSetting
from gan_lt.version import __version__


@dataclass(frozen=True)
class SetOrder:
    """Everything that the bytes of a set depend on, besides the network."""

    plan: SamplingPlan
    psi: NDArray[np.float64]
    truncation: TruncationSetting
    seed: int
    network_sha256: str
    precision: str
    set_format: SetFormat
    encoding: Encoding
    selection: Selection | None
    real: ImageSet | None
    shard_images: int

    def request(self, network: str) -> dict[str, Any]:
        """Tells this order, of the network with this hash, from another, JSON values."""
        request = {
            "gan_lt": __version__,
            "network": network,
            "counts": dict(zip(self.plan.class_names, self.plan.counts.tolist(), strict=True)),
            "real_counts": self.plan.real_counts,
            "seed": self.seed,
            "precision": self.precision,
            "truncation": dict(zip(self.plan.class_names, self.psi.tolist(), strict=True)),
            "format": self.set_format,
            "image_format": self.encoding.image_format,
            "quality": self.encoding.used_quality,
            "selection": None if self.selection is None else self.selection.describe(),
            "real": None if self.real is None else self.real.fingerprint(),
            "shard_images": self.shard_images,
        }
        return dict(json.loads(json.dumps(request)))

    def manifest(
        self, resolution: int, contents: SetContents, selected: Selected | None, files: tuple[str, ...]
    ) -> dict[str, Any]:
        """manifest.json of the finished set, whose images are called `files`; docs/generation.md has the fields."""
        made = contents.made()
        copied = contents.counts - made
        classes: list[dict[str, Any]] = []
        for k, name in enumerate(self.plan.class_names):
            entry: dict[str, Any] = {
                "name": name,
                "real": None if self.plan.real_counts is None else self.plan.real_counts[k],
                "made": int(made[k]),
                "refused": 0 if selected is None else sum(selected.refused[k].values()),
            }
            if self.real is not None:
                entry["copied"] = int(copied[k])
            if selected is not None:
                entry |= {
                    "wanted": int(self.plan.counts[k]),
                    "drawn": int(selected.drawn[k]),
                    "refused_because": selected.refused[k],
                }
            classes.append(entry)
        quality = self.encoding.used_quality
        manifest: dict[str, Any] = {
            "gan_lt": __version__,
            "network_sha256": self.network_sha256,
            "seed": self.seed,
            "truncation_psi": self.truncation,
            "noise_mode": "const",
            "precision": self.precision,
            "resolution": resolution,
            "format": self.set_format,
            "image_format": self.encoding.image_format,
        }
        if quality is not None:
            manifest["quality"] = quality
        if self.selection is not None:
            manifest["selection"] = self.selection.describe()
        if self.real is not None:
            manifest["real_set"] = {"name": self.real.name, "fingerprint": self.real.fingerprint()}
        manifest["classes"] = classes
        manifest["images"] = contents.image_entries(files, self.real)
        return manifest
