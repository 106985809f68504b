"""Batches: the right pixels beside the right labels, the same however they are made."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_lt.data import BatchLoader, ImageSet, open_image_set, sampler_for
from gan_lt.errors import InputError

Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def image_set() -> ImageSet:
    """60 images in 3 classes, every pixel row telling which image it is and whether it was mirrored."""
    images = np.zeros((60, 3, 8, 8), dtype=np.uint8)
    images += np.arange(60, dtype=np.uint8)[:, None, None, None]
    images[..., 0] = 255
    return ImageSet.from_arrays(images, np.repeat([0, 1, 2], [40, 15, 5]))


@pytest.fixture
def streamed(make_folder: Callable[..., Path]) -> ImageSet:
    decoded = open_image_set(make_folder({"a": 9, "b": 4}))
    return replace(decoded, pixels=decoded.pixels.origin)


def _loader(image_set: ImageSet, batch_size: int = 8, **options: object) -> BatchLoader:
    sampler = sampler_for(image_set, "sqrt", seed=1)
    return BatchLoader(image_set, sampler, batch_size, horizontal_flips=True, seed=2, **options)


def _take(loader: BatchLoader, n: int) -> list[Batch]:
    return [next(loader) for _ in range(n)]


def _equal(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(left, right, strict=True)
    )


def test_images_and_labels_belong_together(image_set: ImageSet) -> None:
    for images, labels in _take(_loader(image_set, 32), 5):
        assert images.shape == (32, 3, 8, 8)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        which = images[:, 0, 0, 4].numpy()
        assert np.array_equal(image_set.labels[which], labels.numpy())


def test_flips_mirror_half_of_the_images_whole(image_set: ImageSet) -> None:
    images = torch.cat([batch for batch, _ in _take(_loader(image_set, 50), 20)])
    mirrored = images[:, 0, 0, 7] == 255
    upright = images[:, 0, 0, 0] == 255
    assert torch.equal(mirrored, ~upright)
    assert 420 < mirrored.sum() < 580
    assert (images[mirrored][..., 7] == 255).all()
    plain = BatchLoader(image_set, sampler_for(image_set, "sqrt", seed=1), 50)
    assert all((batch[..., 0] == 255).all() for batch, _ in _take(plain, 5))


def test_resumes_exactly(image_set: ImageSet) -> None:
    loader = _loader(image_set)
    _take(loader, 7)
    state = json.loads(json.dumps(loader.state_dict()))
    expected = _take(loader, 5)
    resumed = _loader(image_set)
    _take(resumed, 2)
    resumed.load_state_dict(state)
    assert _equal(_take(resumed, 5), expected)
    with pytest.raises(InputError, match=r"seed 2.* 3"):
        BatchLoader(image_set, sampler_for(image_set, "sqrt", seed=1), 8, seed=3).load_state_dict(state)


def test_processes_share_one_batch(image_set: ImageSet) -> None:
    whole = _take(_loader(image_set, 12), 4)
    parts = [_take(_loader(image_set, 4, rank=rank, world_size=3), 4) for rank in range(3)]
    joined = [
        (torch.cat([part[0] for part in step]), torch.cat([part[1] for part in step]))
        for step in zip(*parts, strict=True)
    ]
    assert _equal(joined, whole)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_streaming_gives_what_memory_gives(streamed: ImageSet, num_workers: int) -> None:
    expected = _take(_loader(streamed.materialize()), 9)
    loader = _loader(streamed, num_workers=num_workers)
    assert _equal(_take(loader, 3), expected[:3])
    state = loader.state_dict()
    loader.close()  # workers that were ahead are forgotten, and nothing is lost
    assert _equal(_take(loader, 2), expected[3:5])
    resumed = _loader(streamed, num_workers=num_workers)
    resumed.load_state_dict(state)
    assert _equal(_take(resumed, 6), expected[3:])
    loader.close()
    resumed.close()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_corrupt_image_in_a_stream_is_one_line(
    streamed: ImageSet, tmp_path: Path, num_workers: int
) -> None:
    (tmp_path / "set" / "a" / "3.png").write_bytes(b"damaged")
    loader = _loader(streamed, num_workers=num_workers)
    with pytest.raises(InputError, match=r"a/3\.png is corrupt") as caught:
        _take(loader, 20)
    assert "\n" not in str(caught.value)


def test_bad_settings_are_refused(image_set: ImageSet) -> None:
    with pytest.raises(InputError, match="batch size 0"):
        _loader(image_set, 0)
    with pytest.raises(InputError, match="-1 loader workers"):
        _loader(image_set, num_workers=-1)
    with pytest.raises(InputError, match=r"rank 2 .* 2 processes"):
        _loader(image_set, rank=2, world_size=2)


def test_a_killed_worker_is_told_once(streamed: ImageSet) -> None:
    loader = _loader(streamed, num_workers=1)
    next(loader)
    (worker,) = loader._workers
    assert worker.pid is not None
    stream = loader._stream
    loader._stream = _broken_off()  # its pipe ends before the system says that it died
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        next(loader)
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    handler = signal.getsignal(signal.SIGCHLD)
    assert callable(handler)
    handler(signal.SIGCHLD, None)  # whatever child ends later must not bring it up again
    del stream


def _broken_off() -> Iterator[torch.Tensor]:
    raise EOFError
    yield


@pytest.mark.skipif(sys.platform != "linux", reason="limits of shared memory as Linux has them")
def test_too_little_shared_memory_is_one_line(streamed: ImageSet) -> None:
    """As in a container with its 64 MB: what DataLoader itself does there is to wait for ever."""
    import resource

    def give_up(*_: object) -> None:
        raise TimeoutError("no batch and no error came")

    loader = _loader(streamed, batch_size=64, num_workers=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(
            InputError, match=r"no shared memory .* --shm-size=1g.* data\.workers=0"
        ) as caught:
            next(loader)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, usual)
    assert "\n" not in str(caught.value)
