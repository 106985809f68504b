"""The reference against numbers worked out without torch, and the errors of the public functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal, special

from cuda_ops import (
    backend_info,
    bias_act,
    downsample2d,
    filter2d,
    modulated_epilogue,
    setup_filter,
    upfirdn2d,
    upsample2d,
    use_backend,
)


@pytest.fixture(autouse=True)
def _reference():
    with use_backend("reference"):
        yield


def resample_with_loops(x, f, up, down, padding, flip_filter, gain):
    """One [H, W] plane, by the definition: zero-insert, pad or crop, convolve (scipy), decimate."""
    h, w = x.shape
    spread = np.zeros((h * up[1], w * up[0]))
    spread[:: up[1], :: up[0]] = x
    x0, x1, y0, y1 = padding
    padded = np.pad(spread, ((max(y0, 0), max(y1, 0)), (max(x0, 0), max(x1, 0))))
    rows = slice(max(-y0, 0), padded.shape[0] - max(-y1, 0))
    columns = slice(max(-x0, 0), padded.shape[1] - max(-x1, 0))
    convolve = signal.correlate2d if flip_filter else signal.convolve2d
    return convolve(padded[rows, columns], f, mode="valid")[:: down[1], :: down[0]] * gain


CASES = [
    # up, down, padding (x0, x1, y0, y1), flip_filter, gain
    ((1, 1), (1, 1), (2, 1, 2, 1), False, 1.0),
    ((2, 2), (1, 1), (2, 1, 2, 1), False, 4.0),
    ((1, 1), (2, 2), (1, 1, 1, 1), True, 1.0),
    ((3, 2), (2, 3), (4, 0, 1, 5), False, 0.5),
    ((1, 2), (1, 1), (-1, 3, 2, -2), True, 2.0),
]


@pytest.mark.parametrize(("up", "down", "padding", "flip_filter", "gain"), CASES)
@pytest.mark.parametrize("taps", ["square", "separable", None])
def test_upfirdn2d_is_its_definition(up, down, padding, flip_filter, gain, taps):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 7, 9))
    f = {"square": rng.normal(size=(4, 3)), "separable": rng.normal(size=4), None: None}[taps]
    dense = np.ones((1, 1)) if f is None else f if f.ndim == 2 else np.outer(f, f)
    filter_ = None if f is None else torch.tensor(f, dtype=torch.float32)
    if f is not None:
        dense = dense if f.ndim == 1 else filter_.double().numpy()
        dense = np.outer(filter_.double().numpy(), filter_.double().numpy()) if f.ndim == 1 else dense
    expected = [
        [resample_with_loops(p, dense, up, down, padding, flip_filter, gain) for p in image] for image in x
    ]
    actual = upfirdn2d(torch.tensor(x), filter_, up, down, padding, flip_filter, gain)
    np.testing.assert_allclose(actual.numpy(), np.array(expected), rtol=1e-6, atol=1e-8)


def test_size_keeping_functions_keep_size_and_mean():
    f = setup_filter([1, 3, 3, 1])
    x = torch.ones(1, 2, 8, 10)
    assert upsample2d(x, f).shape == (1, 2, 16, 20)
    assert downsample2d(x, f).shape == (1, 2, 4, 5)
    assert filter2d(x, f).shape == x.shape
    for y in (upsample2d(x, f), downsample2d(x, f), filter2d(x, f)):
        inner = y[:, :, 2:-2, 2:-2] if min(y.shape[2:]) > 4 else y[:, :, 1:-1, 1:-1]
        torch.testing.assert_close(inner, torch.ones_like(inner))


def test_setup_filter_makes_the_named_filters():
    np.testing.assert_allclose(setup_filter([1, 3, 3, 1]).numpy(), np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64)
    assert setup_filter(list(range(1, 9))).ndim == 1
    assert setup_filter([1, 2], separable=True).ndim == 1
    np.testing.assert_allclose(setup_filter([1, 2, 5], flip=True, normalize=False).numpy()[0], [25, 10, 5])
    assert float(setup_filter([1, 3, 3, 1], gain=4).sum()) == pytest.approx(4)
    with pytest.raises(ValueError, match="sum to 0"):
        setup_filter([1, -1])
    with pytest.raises(ValueError, match=r"\[2, 2\]"):
        setup_filter([[1, 2], [3, 4]], separable=True)
    with pytest.raises(ValueError, match="nan"):
        setup_filter([1.0, math.nan])


NUMPY_ACTIVATIONS = {
    "linear": (lambda z, a: z, 1),
    "relu": (lambda z, a: np.maximum(z, 0), math.sqrt(2)),
    "lrelu": (lambda z, a: np.where(z > 0, z, z * a), math.sqrt(2)),
    "tanh": (lambda z, a: np.tanh(z), 1),
    "sigmoid": (lambda z, a: special.expit(z), 1),
    "elu": (lambda z, a: np.where(z > 0, z, np.expm1(z)), 1),
    "selu": (lambda z, a: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(z)), 1),
    "softplus": (lambda z, a: np.logaddexp(z, 0), 1),
    "swish": (lambda z, a: z * special.expit(z), math.sqrt(2)),
}


@pytest.mark.parametrize("act", NUMPY_ACTIVATIONS)
def test_bias_act_is_its_formula(act):
    rng = np.random.default_rng(1)
    x, b = rng.normal(size=(2, 3, 4)) * 3, rng.normal(size=3)
    function, gain = NUMPY_ACTIVATIONS[act]
    z = function(x + b[:, None], 0.2)
    actual = bias_act(torch.tensor(x), torch.tensor(b), act=act)
    np.testing.assert_allclose(actual.numpy(), z * gain, rtol=1e-7, atol=1e-9)
    actual = bias_act(torch.tensor(x), torch.tensor(b), act=act, gain=0.5, clamp=0.6)
    np.testing.assert_allclose(actual.numpy(), np.clip(z * 0.5, -0.6, 0.6), rtol=1e-7, atol=1e-9)


def test_modulated_epilogue_is_its_formula():
    rng = np.random.default_rng(2)
    x, demod = rng.normal(size=(2, 3, 4, 5)), rng.uniform(0.5, 2, size=(2, 3))
    noise, bias, strength = rng.normal(size=(2, 1, 4, 5)), rng.normal(size=3), 0.7
    z = x * demod[:, :, None, None] + noise * strength + bias[:, None, None]
    expected = np.clip(1.5 * np.where(z > 0, z, 0.1 * z), -2, 2)
    arguments = [torch.tensor(v, dtype=torch.float64) for v in (x, demod, noise, strength, bias)]
    actual = modulated_epilogue(*arguments, act="lrelu", alpha=0.1, gain=1.5, clamp=2)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12)


X = torch.zeros(2, 3, 4, 4)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (lambda: upfirdn2d(X[0], None), r"\[3, 4, 4\]"),
        (lambda: upfirdn2d(X.int(), None), "int32"),
        (lambda: upfirdn2d(X, None, up=0), "up=0"),
        (lambda: upfirdn2d(X, None, down=(1, 1.5)), "1.5"),
        (lambda: upfirdn2d(X, None, padding=(1, 2, 3)), r"\(1, 2, 3\)"),
        (lambda: upfirdn2d(X, torch.ones(9, 9)), "9x9"),
        (lambda: upfirdn2d(X, torch.ones(0)), r"\[0\]"),
        (lambda: upfirdn2d(X, None, gain=math.inf), "gain=inf"),
        (lambda: bias_act(X, act="gelu"), "gelu"),
        (lambda: bias_act(X, torch.zeros(4)), r"\[4\]"),
        (lambda: bias_act(X, torch.zeros(3), dim=7), "dim=7"),
        (lambda: bias_act(X, clamp=-1.0), "clamp=-1.0"),
        (lambda: bias_act(X, gain=math.nan), "nan"),
        (lambda: modulated_epilogue(X, demod=torch.zeros(3)), r"\[3\]"),
        (lambda: modulated_epilogue(X, noise=torch.zeros(5, 5), strength=torch.ones(())), r"\[5, 5\]"),
        (lambda: modulated_epilogue(X, noise=torch.zeros(4, 4)), "None"),
        (lambda: modulated_epilogue(X, bias=torch.zeros(2)), r"\[2\]"),
        (lambda: use_backend("gpu").__enter__(), "gpu"),
    ],
)
def test_bad_arguments_are_named_with_their_value(call, value):
    with pytest.raises(ValueError, match=value):
        call()


def test_backend_info_says_what_runs():
    info = backend_info()
    assert info["mode"] == "reference"
    assert info["cpu"]["backend"] == "reference"
    assert "use_backend" in info["cpu"]["reason"]
    for device in ("cpu", "cuda"):
        assert info[device]["backend"] in {"native", "reference"}
        assert (info[device]["reason"] is None) == (info[device]["backend"] == "native")
