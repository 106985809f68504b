"""evaluate: the one call that compares generated images with real ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from eval.alignment import align, counts_by_class
from eval.atomic_file import require_writable
from eval.cache import FeatureCache
from eval.cautions import cautions
from eval.distribution import DistributionSettings, compare_distributions
from eval.extraction import extract_features
from eval.extractors import ExtractorContext, build_extractor, require_features
from eval.extractors.base import NoFeatures
from eval.extractors.classifier import ClassifierExtractor
from eval.gallery import collect_gallery
from eval.intra_class import balanced_positions, per_class_distributions
from eval.judging import judge_balance
from eval.kernel import SEED_LIMIT
from eval.measuring_copies import measure_memorization
from eval.metric_names import metric_names
from eval.overlap import shared_images
from eval.progress import Progress
from eval.ranks import Ranks
from eval.report import Report
from eval.settings_used import features_used, settings_used
from eval.sources import ImageSource, SourceOptions, at_resolution, open_source
from eval.summary import Findings, summarise
from eval.training_set import run_folder, training_set_of_run
from eval.utility import UtilitySettings, utility_study
from gan_lt.errors import InputError

_ON_FEATURES = frozenset({"fid", "kid", "prdc", "ifid"})


def at_least(lowest: int, value: int, name: str) -> None:
    """Raises InputError for what is no whole number of at least `lowest`."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < lowest:
        raise InputError(f"{name} is {value!r}; it must be a whole number of at least {lowest}")


def require_seed(value: int) -> None:
    """Raises InputError for what is no seed of everything that draws."""
    at_least(0, value, "seed")
    if value >= SEED_LIMIT:
        raise InputError(f"seed is {value}; it must be a whole number from 0 to {SEED_LIMIT - 1}")


def _require_counts(value: object) -> None:
    """Raises InputError for training counts that are no list and no mapping; its entries need the classes' names."""
    listed = isinstance(value, (Mapping, Sequence)) and not isinstance(value, (str, bytes))
    if value is not None and not listed and getattr(value, "ndim", 0) != 1:
        raise InputError(
            f"train_counts is {value!r}; give a whole number a class, in class order or by class name"
        )


@dataclass(frozen=True)
class EvaluationOptions:
    """What decides the numbers besides the images. Defaults: k from Naeem et al. (2020), subsets from
    clean-fid.
    """

    k: int = 5
    kid_subset_size: int = 1000
    kid_subsets: int = 100
    replicates: int = 1000
    balance_reference: bool = True
    many_over: int = 100
    few_under: int = 20
    utility: UtilitySettings = field(default_factory=UtilitySettings)
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises InputError for a number that can't be measured with."""
        for name, lowest in (
            ("k", 1),
            ("kid_subset_size", 2),
            ("kid_subsets", 1),
            ("replicates", 0),
        ):
            at_least(lowest, getattr(self, name), name)
        require_seed(self.seed)


def evaluate(
    real: Any,
    fake: Any,
    features: Any = "inception",
    metrics: Sequence[str] | str | None = None,
    train_counts: Sequence[int] | Mapping[str, int] | None = None,
    *,
    train: Any = None,
    seed: int = 0,
    num_fake: int | None = None,
    truncation_psi: float = 1.0,
    split: Literal["train", "test"] = "test",
    data_root: str | Path | None = None,
    resolution: int | None = None,
    allow_missing: bool = False,
    options: EvaluationOptions | None = None,
    weights: str | Path | None = None,
    cache_dir: str | Path | None = None,
    device: str = "cpu",
    batch_size: int = 64,
    json: str | Path | None = None,
    report: str | Path | None = None,
    progress: bool = False,
    ranks: Ranks | None = None,
) -> Report:
    """Compare generated images with real ones, over all and class by class.

    Args:
        real, fake: each a folder of class folders, a zip with dataset.json, a data set's name ("digits",
            "cifar10", "cifar100"), a run, a saved generator, or a pair (uint8 images [n, C, H, W], [n, H, W,
            C] or [n, H, W], integer labels [n]).
        features: "inception", "clip", "dinov2", "classifier", a TorchScript or ONNX file, or a callable from
            uint8 numpy images [n, C, H, W] to features [n, d].
        metrics: names out of fid, kid, prdc, ifid, balance, memorization, utility (a sequence, or one string
            with commas). None: all but utility, and memorization where `train` is given.
        train_counts: training images a class, in class order or by name; None: as the sources know them.
        train: the training images, as for `real`, or the run they were used in; needed for memorization and
            utility. None: those of the run, if `fake` is one.
        seed: fixes what is sampled, chosen and trained, from 0 to 2^32 - 1.
        num_fake: images a class from a generator; None: as many as the reference has.
        truncation_psi: of a generator, from 0 to 2.
        split, data_root: how named sets are opened. resolution: the size that all images are brought to.
        allow_missing: report classes that are on one side only instead of refusing them.
        weights: file of the extractor's weights. cache_dir: folder to keep features in.
        ranks: the processes that call this together and share the features' computation (torchrun); the first
            one returns the report and writes the files, the others return an empty one.
        json, report: files to write, in a folder that is made when needed. That they can be is checked first.

    Returns: the Report. The per-class reference has equally many images of every class (a seeded choice; the
    report says how many) unless options.balance_reference is False.

    Raises InputError (a ValueError) with one line that names what can't be used and what to do.
    """
    from gan_lt.sampling.truncation import require_psi
    from gan_lt.training.device import choose_device  # training measures with this package

    started = time.monotonic()
    for path in (json, report):
        if path is not None and (ranks is None or ranks.leads):
            require_writable(Path(path))
    require_seed(seed)
    at_least(1, batch_size, "batch_size")
    if num_fake is not None:
        at_least(2, num_fake, "--num-fake")
    _require_counts(train_counts)
    require_psi(truncation_psi)
    require_features(features)
    device = str(choose_device(device))
    options = options or EvaluationOptions(seed=seed)
    train_asked = train is not None
    if train is None:
        train = run_folder(fake)
    wanted = metric_names(metrics, has_train=train is not None)
    ranks = ranks or Ranks()
    shown = Progress(progress and ranks.leads)
    notes: list[str] = []

    def source(
        spec: Any,
        option: str,
        part: Literal["train", "test"],
        reference: ImageSource | None = None,
        each: int | None = num_fake,
    ) -> ImageSource:
        root = None if data_root is None else Path(data_root)
        synthetic = option == "--fake"
        opening = SourceOptions(option, part, root, resolution, each, seed, truncation_psi, synthetic)
        return at_resolution(open_source(spec, opening, reference), resolution)

    reference = source(real, "--real", split)
    everything = align(reference, source(fake, "--fake", split, reference), allow_missing=allow_missing)
    sides = everything.asked_for()
    names = sides.class_names
    opened = training = to_top_up = None
    if train is not None:
        run = run_folder(train)
        try:
            opened = source(train if run is None else training_set_of_run(run), "--train", "train")
            to_top_up = align(everything.real, opened, allow_missing=True, least=1).fake
            training = align(sides.real, to_top_up, allow_missing=True, least=1).fake
        except InputError as error:
            if train_asked or metrics is not None:
                raise
            # nobody asked for what needs them: a run whose data moved away can still be evaluated
            notes.append(f"The run's training images are not there ({error}): memorization is not measured.")
            wanted -= {"memorization"}
            opened = None
    counts = counts_by_class(train_counts, names, sides.fake, sides.real)
    if counts is None and training is not None:
        counts = [int(n) for n in np.bincount(training.labels, minlength=len(names))]

    context = ExtractorContext(sides.real, seed, device, Path(weights) if weights else None, progress)
    # weights may be a download: what is judged and trained by small classifiers alone needs none
    needed = _needs_features(wanted, features)
    extractor = build_extractor(features, context) if needed else NoFeatures()
    cache = FeatureCache(cache_dir) if cache_dir is not None else None

    extracted: dict[int, npt.NDArray[np.float32]] = {}

    def extract(images: ImageSource) -> npt.NDArray[np.float32]:
        if id(images) not in extracted:
            extracted[id(images)] = extract_features(
                images,
                extractor,
                batch_size=batch_size,
                cache=cache,
                progress=shown,
                warnings=notes,
                ranks=ranks,
            )
        return extracted[id(images)]

    found = Findings(names, sides, counts, options)
    copies_by_features = "memorization" in wanted and extractor.name != "classifier"
    if wanted & _ON_FEATURES or copies_by_features:
        shared = [sides.real, sides.fake]
        if copies_by_features and training is not None:
            shared.append(training)
        for images in shared:
            extract(images)
        if not ranks.leads:
            return Report({}, {}, [], {}, {}, {})
        real_features, fake_features = extract(sides.real), extract(sides.fake)
        if real_features.shape[1] != fake_features.shape[1]:
            raise InputError(
                f"{extractor.name} gave {real_features.shape[1]} dimensions for the real and "
                f"{fake_features.shape[1]} for the generated images; both must be of one size"
            )
        found.dim = real_features.shape[1]
        _distributions(found, real_features, fake_features, wanted)
    if not ranks.leads:
        return Report({}, {}, [], {}, {}, {})
    if training is not None and wanted & {"balance", "memorization"}:
        found.overlap = shared_images(sides.real, training)
        found.overlap_unknown = found.overlap is None
    if "balance" in wanted:
        unseen = training.without(found.overlap[1]) if training is not None and found.overlap else training
        found.balance = judge_balance(extractor, context, sides, unseen, batch_size=batch_size)
    if "memorization" in wanted and training is not None:
        known_real = None if found.overlap is None else found.overlap[0]
        found.memorization = measure_memorization(extractor, sides, training, extract, known_real)
    if "utility" in wanted and to_top_up is not None:
        synthetic = everything.fake
        if synthetic.kind == "generator":
            # topping up needs as many images as the largest class lacks, not as many as the reference has
            largest = int(to_top_up.counts.max())
            synthetic = align(everything.real, source(fake, "--fake", split, everything.real, largest)).fake
        found.utility = utility_study(
            to_top_up,
            synthetic,
            everything.real,
            options.utility,
            seed=seed,
            device=device,
            progress=shown,
            cache=cache,
            warnings=notes,
        )
    result = summarise(found, wanted)
    result.features = features_used(extractor, found.dim)
    result.settings = settings_used(found, wanted, started, reference, opened, seed)
    result.warnings = [*notes, *cautions(found, result)]
    result.gallery = collect_gallery(sides.real, sides.fake, len(names), per_class=10, seed=seed)
    if found.memorization is not None:
        result.gallery.pairs = found.memorization.pairs
    if json is not None:
        result.to_json(json)
    if report is not None:
        result.to_html(report)
    return result


def _needs_features(wanted: frozenset[str], features: Any) -> bool:
    """Whether anything wanted is measured on features, or judged by the classifier they are of."""
    if isinstance(features, (str, Path)):
        own_judge = str(features) == "classifier"
    else:
        own_judge = isinstance(features, ClassifierExtractor)
    return bool(wanted & {*_ON_FEATURES, "memorization"}) or ("balance" in wanted and own_judge)


def _distributions(
    found: Findings, real: npt.NDArray[np.float32], fake: npt.NDArray[np.float32], wanted: frozenset[str]
) -> None:
    options = found.options
    settings = DistributionSettings(
        options.k, options.kid_subset_size, options.kid_subsets, options.replicates, options.seed
    )
    whole = {
        measure for name, measure in (("fid", "frechet"), ("kid", "kid"), ("prdc", "prdc")) if name in wanted
    }
    if min(len(real), len(fake)) <= options.k:
        whole.discard("prdc")
    found.whole = compare_distributions(real, fake, whole, settings)
    by_class = {
        measure for name, measure in (("ifid", "frechet"), ("kid", "kid"), ("prdc", "prdc")) if name in wanted
    }
    if by_class:
        sides, size = found.sides, len(found.names)
        if options.balance_reference:
            found.reference_rows = balanced_positions(sides.real.labels, size, options.seed)
        else:
            found.reference_rows = [sides.real.of_class(index) for index in range(size)]
        fake_rows = [sides.fake.of_class(index) for index in range(size)]
        found.by_class = per_class_distributions(
            real, found.reference_rows, fake, fake_rows, by_class, settings
        )
