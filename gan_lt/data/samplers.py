"""Which real images a batch holds: infinite samplers of indices, by class frequency.

Everything random here is a function of the seed and of how much was drawn, not of a generator's hidden state.
So a sampler resumes from a handful of integers, and drawing 3 and then 5 indices gives what drawing 8 gives.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gan_lt.data.image_set import ImageSet, require_countable
from gan_lt.errors import InputError

SamplerName = Literal["natural", "balanced", "sqrt", "effective"]

_CLASS_STREAM, _ORDER_STREAM = 1, 2
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class ClassSampler:
    """An infinite sequence of image indices.

    A group is drawn with probability ``weights[g]``, and the next image in that group's shuffled cycle is
    taken: every image of a group comes once before any comes again, in a new order each time round.

    Args:
        groups: ``[N]``, the group of each image, 0..G-1.
        weights: ``[G]``, not negative, in proportion to the probabilities; groups without images have 0.
        seed: 0 or more.
        name: what the sampler is called in its state.
    """

    def __init__(self, groups: ArrayLike, weights: ArrayLike, seed: int = 0, name: str = "custom") -> None:
        labels = np.asarray(groups, dtype=np.int64)
        probability = np.asarray(weights, dtype=np.float64)
        self.name = name
        self.seed = seed
        if seed < 0:
            raise InputError(f"seed {seed} is negative: it must be 0 or more")
        if labels.size == 0 or labels.min() < 0 or labels.max() >= len(probability):
            raise InputError(f"sampler {name}: {len(labels)} images do not fit {len(probability)} groups")
        self._size = np.bincount(labels, minlength=len(probability)).astype(np.int64)
        bad = (self._size == 0) & (probability > 0) | (probability < 0) | ~np.isfinite(probability)
        if bad.any() or probability.sum() <= 0:
            raise InputError(f"sampler {name}: group {int(bad.argmax())} lacks images or weight")
        cumulative = np.cumsum(probability)
        # by its own last, not by the sum, which is rounded otherwise: it must end in 1, or group G could be drawn
        self._cumulative = cumulative / cumulative[-1]
        self._members = np.argsort(labels, kind="stable").astype(np.int64)
        self._start = np.cumsum(self._size) - self._size
        self._drawn = 0
        self._taken = np.zeros(len(self._size), dtype=np.int64)
        self._cycle = np.full(len(self._size), -1, dtype=np.int64)  # the cycle that _order holds
        self._order = np.empty_like(self._members)

    def next_indices(self, n: int) -> NDArray[np.int64]:
        """int64 ``[n]``: the next ``n`` image indices."""
        if n < 0:
            raise InputError(f"can't draw {n} images: the number must be 0 or more")
        if n == 0:
            return np.empty(0, dtype=np.int64)
        group = self._draw_groups(n)
        position = self._taken[group] + _rank_among_equals(group)
        cycle, place = np.divmod(position, self._size[group])
        indices = np.empty(n, dtype=np.int64)
        # Draws of the first cycle, then of the next: mostly one pass, two where a group wraps.
        todo = np.ones(n, dtype=bool)
        while todo.any():
            present, first = np.unique(group[todo], return_index=True)
            self._shuffle(present, cycle[todo][first])
            ready = todo & (cycle == self._cycle[group])
            indices[ready] = self._order[self._start[group[ready]] + place[ready]]
            todo &= ~ready
        self._taken += np.bincount(group, minlength=len(self._taken))
        self._drawn += n
        return indices

    def state_dict(self) -> dict[str, Any]:
        """Plain integers and texts from which ``load_state_dict`` goes on exactly."""
        return {
            "name": self.name,
            "seed": self.seed,
            "images": len(self._members),
            "drawn": self._drawn,
            "taken": self._taken.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken.

        Raises:
            InputError: the state is another sampler's: other name, seed, images or classes.
        """
        for key, own in (("name", self.name), ("seed", self.seed), ("images", len(self._members))):
            if state.get(key) != own:
                raise InputError(f"sampler state has {key} {state.get(key)!r}, this sampler has {own!r}")
        taken = np.asarray(state.get("taken"))
        if taken.shape != self._taken.shape:
            raise InputError(f"sampler state has {taken.size} classes, this sampler has {self._taken.size}")
        self._drawn = int(state["drawn"])
        self._taken = taken.astype(np.int64)
        self._cycle.fill(-1)

    def _draw_groups(self, n: int) -> NDArray[np.int64]:
        if len(self._size) == 1:
            return np.zeros(n, dtype=np.int64)
        uniform = uniform_numbers(self.seed, _CLASS_STREAM, self._drawn, n)
        return np.searchsorted(self._cumulative, uniform, side="right").astype(np.int64)

    def _shuffle(self, groups: NDArray[np.int64], cycles: NDArray[np.int64]) -> None:
        """Have ``_order`` hold these cycles of these groups, sorted by a hash of (seed, cycle, image)."""
        stale = self._cycle[groups] != cycles
        groups, cycles = groups[stale], cycles[stale]
        if groups.size == 0:
            return
        size = self._size[groups]
        segment = np.repeat(np.arange(len(groups)), size)
        slot = np.arange(size.sum()) + np.repeat(self._start[groups] - (np.cumsum(size) - size), size)
        image = self._members[slot]
        salt = _mix(cycles.astype(np.uint64) + _stream_key(self.seed, _ORDER_STREAM))
        key = _mix(image.astype(np.uint64) * _GOLDEN + salt[segment])
        self._order[slot] = image[np.lexsort((key, segment))]
        self._cycle[groups] = cycles


def make_sampler(
    name: SamplerName,
    labels: ArrayLike,
    counts: ArrayLike | None = None,
    beta: float = 0.999,
    seed: int = 0,
) -> ClassSampler:
    """A sampler of real images by class frequency.

    Args:
        name: ``"natural"``: all images in shuffled epochs. The others draw a class, then an image of it:
            ``"balanced"`` with p_k = 1/K; ``"sqrt"`` with p_k in proportion to sqrt(n_k) (Mahajan et al.,
            ECCV 2018); ``"effective"`` to the effective number E_k = (1 - beta^n_k) / (1 - beta) (Cui et al.,
            CVPR 2019), which goes from balanced at beta = 0 to natural as beta nears 1.
        labels: int64 ``[N]``.
        counts: ``[K]``, the images of each class in ``labels``; counted if not given. Classes without images
            are never drawn.
        beta: for ``"effective"``, 0 <= beta < 1.
        seed: 0 or more.

    Raises:
        InputError: an unknown name, a beta out of range, labels too large to be counted, counts that are not those of
            the labels.
    """
    label_array = np.asarray(labels, dtype=np.int64)
    if label_array.ndim != 1 or label_array.size == 0 or label_array.min() < 0:
        raise InputError(f"labels of shape {label_array.shape} can't be sampled: they must be [N], 0 or more")
    require_countable(label_array, f"sampler {name}")
    found = np.bincount(label_array, minlength=0 if counts is None else len(np.asarray(counts)))
    n_k = found if counts is None else np.asarray(counts)
    if not np.array_equal(n_k, found):
        raise InputError(f"counts {n_k.tolist()!s:.80} are not those of the labels, {found.tolist()!s:.80}")
    if name == "natural":
        return ClassSampler(np.zeros_like(label_array), [1.0], seed, name)
    if name == "balanced":
        weights = (n_k > 0).astype(np.float64)
    elif name == "sqrt":
        weights = np.sqrt(n_k)
    elif name == "effective":
        weights = _effective_number(n_k, beta)
    else:
        raise InputError(
            f"sampler {name!r} is not known: it must be one of {', '.join(get_args(SamplerName))}"
        )
    return ClassSampler(label_array, weights, seed, name)


def sampler_for(image_set: ImageSet, name: SamplerName, beta: float = 0.999, seed: int = 0) -> ClassSampler:
    """``make_sampler`` over an image set."""
    return make_sampler(name, image_set.labels, image_set.counts, beta, seed)


def uniform_numbers(seed: int, stream: int, start: int, n: int) -> NDArray[np.float64]:
    """float64 ``[n]`` in [0, 1): numbers ``start`` to ``start + n`` of a stream, each a hash of its place."""
    place = np.arange(start, start + n, dtype=np.uint64)
    bits = _mix(place * _GOLDEN + _stream_key(seed, stream))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _effective_number(n_k: NDArray[np.int64], beta: float) -> NDArray[np.float64]:
    if not 0 <= beta < 1:
        raise InputError(f"beta {beta} is not in [0, 1)")
    if beta == 0:
        return (n_k > 0).astype(np.float64)
    effective: NDArray[np.float64] = np.expm1(n_k * np.log(beta)) / (beta - 1)
    return effective


def _rank_among_equals(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal values came before each."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    place = np.arange(len(values))
    begins = np.where(np.r_[True, ordered[1:] != ordered[:-1]], place, 0)
    rank = np.empty_like(place)
    rank[order] = place - np.maximum.accumulate(begins)
    return rank


def _stream_key(seed: int, stream: int) -> np.uint64:
    words = np.array([seed & (2**64 - 1)], dtype=np.uint64)
    return np.uint64(_mix(_mix(words) + np.uint64(stream))[0])


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): each bit reaches every bit."""
    values = (values + _GOLDEN).astype(np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
