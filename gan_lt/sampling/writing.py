"""Synthetic sets on disk: class folders, a zip or shards, with a manifest; complete or not there at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from gan_lt.data import ImageSet
from gan_lt.data.image_set import require_class_names
from gan_lt.errors import InputError
from gan_lt.models import ImageGenerator
from gan_lt.models.precision import precision_of
from gan_lt.sampling.candidates import CandidateStore
from gan_lt.sampling.contents import SetContents, contents_of_plan, join_contents
from gan_lt.sampling.encoding import Encoding
from gan_lt.sampling.images import sample_images
from gan_lt.sampling.judges import weights_digest
from gan_lt.sampling.order import SetOrder
from gan_lt.sampling.pipeline import Pixels, fill_set, units_of
from gan_lt.sampling.plan import SamplingPlan, image_seeds
from gan_lt.sampling.ranks import Ranks
from gan_lt.sampling.selecting import Selected, candidates_wanted, select_images
from gan_lt.sampling.selection import Selection
from gan_lt.sampling.set_formats import (
    SHARD_IMAGES,
    ClassFolders,
    SetFormat,
    SetInTheMaking,
    StyleGANZip,
    WebDatasetShards,
)
from gan_lt.sampling.truncation import TruncationSetting, psi_per_class
from gan_lt.sampling.unfinished import remember_made, unfinished_set

Stage = Callable[[str, int, int], None]


@dataclass(frozen=True)
class WrittenSet:
    """What was written. made: int64 [K], sampled images of each class; wanted: int64 [K], what was asked for."""

    class_names: tuple[str, ...]
    made: NDArray[np.int64]
    wanted: NDArray[np.int64]

    @property
    def short(self) -> dict[str, int]:
        """Images that are missing, of every class that the limit of tries left short."""
        missing = (self.wanted - self.made).tolist()
        return {name: n for name, n in zip(self.class_names, missing, strict=True) if n > 0}


def write_synthetic_set(
    generator: ImageGenerator,
    plan: SamplingPlan,
    out: Path,
    *,
    seed: int = 0,
    truncation_psi: TruncationSetting = 1.0,
    network_sha256: str = "",
    set_format: SetFormat = "folder",
    encoding: Encoding | None = None,
    selection: Selection | None = None,
    copy_real: ImageSet | None = None,
    shard_images: int = SHARD_IMAGES,
    ranks: Ranks | None = None,
    progress: Callable[[int], None] = lambda _: None,
    stage: Stage = lambda what, total, done: None,
) -> WrittenSet:
    """Sample what the plan asks for and write it with manifest.json. The same arguments give the same bytes.

    What a stopped or killed call has made stays in a hidden folder beside `out`; the same call again goes on from there,
    and the result has the bytes of an undisturbed one.

    Args:
        generator: in evaluation mode. plan: images of every class.
        out: the folder (class sub-folders or shards inside), or the .zip, to make; must not exist, or be an empty folder.
        seed: from 0; see `image_seeds`. truncation_psi: 1 is the full distribution; a number, or {class name: psi} with "*"
            for the other classes.
        network_sha256: goes into the manifest. set_format: "folder", "zip" or "webdataset".
        encoding: of the images; PNG by default. selection: what images must pass; needed for an unconditional network.
        copy_real: real images of the generator's size that the set holds besides, as CLASS/real-000000.
        shard_images: of a WebDataset shard, at most.
        ranks: the processes that share the work; all call this with the same arguments.
        progress: called with the number of images just done. stage: called with what is done from now on, with the
            total and how many of it are there already.

    Raises:
        InputError: `out` exists already, is unfinished from other arguments or can't be written; real images of another size
            or of a class that the plan doesn't have.
    """
    ranks = ranks or Ranks()
    out = Path(os.path.realpath(out))
    if set_format != "zip" and out.is_dir() and (out.is_mount() or out == Path.cwd()):
        raise InputError(
            f"--outdir: {out} can't be replaced (a mount point, or the current folder); name a folder inside it"
        )
    psi = psi_per_class(truncation_psi, plan.class_names)
    require_class_names(plan.class_names, "--network")
    if shard_images < 1:
        raise InputError(f"--shard-images: {shard_images} must be at least 1")
    if set_format not in get_args(SetFormat):
        raise InputError(f"--format: {set_format!r} must be folder, zip or webdataset")
    if not plan.counts.any() and copy_real is None:
        raise InputError("there is nothing to make: every class has as many images as asked for")
    if generator.num_classes == 0:
        if selection is None or selection.classifier is None:
            raise InputError(
                "--network: is unconditional; pass --classifier FILE to sort its images by class"
            )
        if len(np.unique(psi)) > 1:
            raise InputError("--truncation: an unconditional network has no classes to truncate one by one")
    for images, option in (
        (copy_real, "--copy-real"),
        (None if selection is None else selection.training, "--train-data"),
    ):
        _require_size(images, generator, option)
    _require_classes(copy_real, plan.class_names)
    image_seeds(seed, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    order = SetOrder(
        plan,
        psi,
        truncation_psi,
        seed,
        network_sha256,
        precision_of(generator),
        set_format,
        encoding or Encoding(),
        selection,
        copy_real,
        shard_images,
    )
    try:
        made = _write(generator, order, out, ranks, progress, stage)
    except OSError as error:
        raise InputError(
            f"--outdir: {out} can't be written ({error.strerror or error}); free some space and give the command again, or "
            "choose another folder"
        ) from error
    return WrittenSet(plan.class_names, made, plan.counts)


def _require_size(images: ImageSet | None, generator: ImageGenerator, option: str) -> None:
    if images is None:
        return
    own, made = (images.resolution, images.channels), (generator.resolution, generator.img_channels)
    if own != made:
        raise InputError(
            f"{option}: {images.name} is {own[0]}x{own[0]}x{own[1]}, the network makes {made[0]}x{made[0]}x{made[1]}; open "
            "it with the network's resolution and channels"
        )


def _require_classes(real: ImageSet | None, class_names: tuple[str, ...]) -> None:
    foreign = [] if real is None else [name for name in real.class_names if name not in class_names]
    if real is not None and foreign:
        raise InputError(
            f"--copy-real: {real.name} has the class {foreign[0]!r}, the network has {', '.join(class_names)}; copy a set of "
            "its classes"
        )


def _write(
    generator: ImageGenerator,
    order: SetOrder,
    out: Path,
    ranks: Ranks,
    progress: Callable[[int], None],
    stage: Stage,
) -> NDArray[np.int64]:
    if ranks.leads:
        out.parent.mkdir(parents=True, exist_ok=True)
    # without its file's hash a network is known by its weights: another one must not go on with the set
    request = order.request(order.network_sha256 or weights_digest(generator))
    with unfinished_set(out, request, empty_folder_ok=order.set_format != "zip", ranks=ranks) as work:
        if isinstance(work, list):
            return np.array(work, dtype=np.int64)
        contents, selected, pixels = _contents(generator, order, work, ranks, progress, stage)
        if not len(contents):
            ranks.barrier()
            if ranks.leads:
                # nothing in there is of use to a command that asks for something else
                shutil.rmtree(work / "candidates", ignore_errors=True)
            raise InputError(
                f"--max-tries: none of {int(selected.drawn.sum()) if selected else 0} candidates passed the selection; "
                "raise it, or ask for less"
            )
        units = units_of(len(contents))
        target = _target(order, contents, work, units)
        mine = units[ranks.rank :: ranks.size]
        there = sum(len(unit) - len(target.missing(unit)) for unit in mine)
        stage("sampling" if selected is None else "writing", sum(len(unit) for unit in mine), there)
        fill_set(target, mine, pixels, order.encoding, progress)
        ranks.barrier()
        if ranks.leads:
            remember_made(work, contents.made().tolist())
            target.complete(order.manifest(generator.resolution, contents, selected, target.files), out)
        ranks.barrier()
    return contents.made()


def _contents(
    generator: ImageGenerator,
    order: SetOrder,
    work: Path,
    ranks: Ranks,
    progress: Callable[[int], None],
    stage: Stage,
) -> tuple[SetContents, Selected | None, Pixels]:
    """What the set holds, and where its pixels come from."""
    plan, real = order.plan, order.real
    if order.selection is None:
        contents = contents_of_plan(plan, order.seed, order.psi, real)

        def sampled(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
            labels, seeds = contents.labels[positions], contents.seeds[positions]
            return sample_images(generator, labels, seeds, contents.psi[positions])

        return contents, None, _with_real(contents, real, sampled)
    store = CandidateStore(work)
    stage("selecting", int(candidates_wanted(plan, order.selection).sum()), 0)
    selected = select_images(
        generator,
        plan,
        order.selection,
        store,
        seed=order.seed,
        psi=order.psi,
        ranks=ranks,
        progress=progress,
    )
    contents = join_contents(
        plan.class_names, selected.labels, selected.seeds, selected.sources, order.psi, real
    )
    return (
        contents,
        selected,
        _with_real(contents, real, lambda positions: store.pixels(contents.sources[positions])),
    )


def _with_real(contents: SetContents, real: ImageSet | None, sampled: Pixels) -> Pixels:
    if real is None:
        return sampled

    def pixels(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        made = contents.seeds[positions] >= 0
        if made.all():
            return sampled(positions)
        originals = real.images(contents.sources[positions[~made]])
        if not made.any():
            return originals
        both = np.empty((len(positions), *originals.shape[1:]), dtype=np.uint8)
        both[~made], both[made] = originals, sampled(positions[made])
        return both

    return pixels


def _target(order: SetOrder, contents: SetContents, work: Path, units: list[range]) -> SetInTheMaking:
    suffix = order.encoding.suffix
    if order.set_format == "folder":
        return ClassFolders(work, contents, suffix)
    if order.set_format == "zip":
        return StyleGANZip(work, contents, suffix, units)
    return WebDatasetShards(work, contents, suffix, units, order.shard_images, order.seed)
