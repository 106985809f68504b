"""sngan: shapes, class conditioning, spectral norms, averaging, and saving as any other network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_lt.errors import InputError
from gan_lt.models import Discriminator, Generator, SnganDiscriminator, SnganGenerator, conditional_norm
from gan_lt.models.conditional_norm import BatchNorm, ConditionalBatchNorm
from gan_lt.models.sngan import generator_channels
from gan_lt.models.sngan_discriminator import discriminator_channels
from gan_lt.sampling import sample_images
from gan_lt.training.ema import update_ema


def small(**changes: object) -> SnganGenerator:
    torch.manual_seed(0)
    settings = {"z_dim": 8, "num_classes": 3, "resolution": 16, "img_channels": 1, "channels": 4, **changes}
    return SnganGenerator(**settings)  # type: ignore[arg-type]


def z_and_y(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(1)), torch.arange(n) % 3


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_shapes_and_range(resolution: int, num_classes: int) -> None:
    G = small(resolution=resolution, num_classes=num_classes, img_channels=3, channels=1)
    D = SnganDiscriminator(num_classes, resolution, 3, channels=1)
    z, y = z_and_y()
    images = G(z, y if num_classes else None)
    assert images.shape == (6, 3, resolution, resolution)
    assert float(images.abs().max()) <= 1
    logits, features = D.judge(images, y)
    assert logits.shape == (6,)
    assert features.shape == (6, D.feature_dim)


def test_published_widths() -> None:
    """Miyato et al., ICLR 2018: 256 and 128 channels at 32x32, 1024 down to 64 above."""
    assert generator_channels(32, 64) == [256] * 4
    assert generator_channels(64, 64) == [1024, 512, 256, 128, 64]
    assert discriminator_channels(32, 64) == [(128, True), (128, True), (128, False), (128, False)]
    assert [width for width, _ in discriminator_channels(128, 64)] == [64, 128, 256, 512, 1024, 1024]
    count = sum(p.numel() for p in SnganGenerator(num_classes=0).parameters())
    # 128 -> 16 * 256; three blocks of two 3x3 and a 1x1 convolutions of 256; norms; 3x3 to 3 channels
    block = 2 * (256 * 256 * 9 + 256) + 256 * 256 + 256 + 4 * 256
    assert count == 128 * 4096 + 4096 + 3 * block + 2 * 256 + 256 * 3 * 9 + 3


def test_conditional_norm_is_batch_norm_with_the_classs_own_gain_and_bias() -> None:
    torch.manual_seed(0)
    norm = ConditionalBatchNorm(4, 3)
    with torch.no_grad():
        assert norm.gain is not None
        assert norm.bias is not None
        norm.gain.normal_()
        norm.bias.normal_()
    x, y = torch.randn(6, 4, 5, 5), torch.tensor([0, 1, 2, 2, 1, 0])
    plain = nn.functional.batch_norm(x, None, None, training=True)
    expected = torch.stack(
        [plain[i] * norm.gain[k][:, None, None] + norm.bias[k][:, None, None] for i, k in enumerate(y)]
    )
    torch.testing.assert_close(norm(x, y), expected)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_over_two_processes_is_that_of_the_whole_batch(
    affine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each half of a batch, told the other half's moments, comes out as it does in the whole batch."""
    whole = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(1)) * 2 + 3
    halves = whole.chunk(2)
    one, two = BatchNorm(4, affine=affine), BatchNorm(4, affine=affine)
    if affine:
        for norm in (one, two):
            torch.nn.init.constant_(norm.weight, 1.5)
            torch.nn.init.constant_(norm.bias, -0.5)
    expected = one(whole)

    def mean_over_two(moments: Tensor) -> Tensor:
        other = torch.stack([halves[1].mean(dim=[0, 2, 3]), halves[1].square().mean(dim=[0, 2, 3])])
        return (moments + other) / 2

    monkeypatch.setattr(conditional_norm, "world_size", lambda: 2)
    monkeypatch.setattr(conditional_norm, "mean_over_processes", mean_over_two)
    torch.testing.assert_close(two(halves[0]), expected[:3], rtol=1e-4, atol=1e-5)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(two, name), getattr(one, name))
    # sampling uses what was followed, whoever else there is
    torch.testing.assert_close(two.eval()(whole), one.eval()(whole))


def test_the_class_changes_the_image_only_through_its_tables() -> None:
    G = small().eval()
    z, _ = z_and_y()
    first, second = torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.int64)
    assert torch.equal(G(z, first), G(z, second))  # all gains 1, all biases 0
    tables = G.conditioning_parameters()
    assert G.conditioning_layers == 4
    assert [list(t.shape) for t in tables] == [[3, 16]] * 8
    with torch.no_grad():
        tables[0][1] *= 2
    assert not torch.equal(G(z, first), G(z, second))
    assert small(num_classes=0).conditioning_parameters() == []


def test_gsr_reaches_gains_and_biases() -> None:
    from gan_lt.regularizers import GroupSpectral, Latents, StepBatch, spectral_norms

    G = small()
    counts = [7.0, 7.0, 7.0]
    term = GroupSpectral(G.conditioning_parameters, counts, layers=G.conditioning_layers)
    nothing = torch.zeros(2)
    batch = StepBatch("generator", 0, Latents(nothing, None), nothing, nothing, nothing)
    # at the start gains are 1, whose 4 x 4 matrix has norm 4, and biases are 0: the formula's (4^2 + 0^2)
    assert float(term.generator_loss(batch)) == pytest.approx(16, rel=1e-5)  # type: ignore[arg-type]
    with torch.no_grad():
        for table in G.conditioning_parameters():
            table.normal_()
    for _ in range(60):
        loss = term.generator_loss(batch)
    exact = sum(float(spectral_norms(t).square().mean()) for t in G.conditioning_parameters())
    assert float(loss) == pytest.approx(exact / G.conditioning_layers, rel=1e-3)  # type: ignore[arg-type]
    loss.backward()  # type: ignore[union-attr]
    assert all(t.grad is not None and bool(t.grad.any()) for t in G.conditioning_parameters())


def test_every_weight_of_the_discriminator_has_spectral_norm_one() -> None:
    torch.manual_seed(0)
    D = SnganDiscriminator(3, 16, 1, channels=4)
    for _ in range(200):
        D(torch.randn(2, 1, 16, 16), torch.tensor([0, 1]))
    D.eval()
    weights = [m.weight for m in D.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(weights) == 4 * 2 + 2 + 2
    for weight in weights:
        assert float(torch.linalg.matrix_norm(weight.flatten(1), 2)) == pytest.approx(1, rel=0.02)


def test_projection_is_the_inner_product_with_the_classs_vector() -> None:
    torch.manual_seed(0)
    D = SnganDiscriminator(3, 16, 1, channels=4).eval()
    images = torch.randn(4, 1, 16, 16)
    logits = [D(images, torch.full([4], k)) for k in range(3)]
    _, features = D.judge(images, torch.zeros(4, dtype=torch.int64))
    assert D.embed is not None
    table = D.embed.weight
    torch.testing.assert_close(logits[1] - logits[0], features @ (table[1] - table[0]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_saved_and_built_again_by_either_factory(tmp_path: Path, num_classes: int) -> None:
    G = small(
        num_classes=num_classes,
        class_names=["a", "b", "c"] if num_classes else None,
        class_counts=[9, 5, 1] if num_classes else None,
    )
    D = SnganDiscriminator(num_classes, 16, 1, channels=4)
    z, y = z_and_y()
    G(z, y)  # moves the running statistics
    G.save_pretrained(tmp_path / "G")
    D.save_pretrained(tmp_path / "D")
    for factory in (Generator, SnganGenerator):
        again = factory.from_pretrained(tmp_path / "G")
        assert type(again) is SnganGenerator
        assert not again.training
        assert torch.equal(again(z, y), G.eval()(z, y))
        assert again.class_counts == G.class_counts
    again_d = Discriminator.from_pretrained(tmp_path / "D")
    assert type(again_d) is SnganDiscriminator
    images = G(z, y)
    assert torch.equal(again_d(images, y), D.eval()(images, y))
    with pytest.raises(InputError, match="'SnganGenerator', not a Discriminator"):
        Discriminator.from_pretrained(tmp_path / "G")


def test_a_stylegan2_folder_is_still_a_stylegan2(tmp_path: Path) -> None:
    G = Generator(z_dim=4, num_classes=2, w_dim=4, resolution=8, channel_max=4, mapping_layers=1)
    G.save_pretrained(tmp_path)
    assert type(Generator.from_pretrained(tmp_path)) is Generator
    assert type(SnganGenerator.from_pretrained(tmp_path)) is Generator


def test_sampling_depends_on_seed_and_class_alone() -> None:
    G = small(resolution=8).eval()
    labels, seeds = np.array([0, 1, 2, 0, 1]), np.array([5, 6, 7, 8, 9])
    together = sample_images(G, labels, seeds)
    assert np.array_equal(sample_images(G, labels[3:], seeds[3:]), together[3:])
    centre = sample_images(G, labels, seeds, truncation_psi=0.0)
    assert np.array_equal(centre[0], centre[3])  # one class, z at its mean
    assert not np.array_equal(together[0], together[3])


def test_the_average_has_averaged_statistics() -> None:
    """Batch norm's statistics follow with the weights' decay; the counter is copied."""
    G, average = small(), small()
    z, y = z_and_y()
    G(z, y)
    before = average.norm.running_mean.clone()  # type: ignore[union-attr]
    update_ema(average, G, decay=0.75)
    expected = before + 0.25 * (G.norm.running_mean - before)  # type: ignore[operator]
    torch.testing.assert_close(average.norm.running_mean, expected)
    assert int(average.norm.num_batches_tracked) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"resolution": 24}, "resolution=24"),
        ({"resolution": 4}, "resolution=4"),
        ({"z_dim": 0}, "z_dim=0"),
        ({"channels": 0}, "channels=0"),
        ({"num_classes": -1}, "num_classes=-1"),
        ({"img_channels": 0}, "img_channels=0"),
        ({"class_names": ["a"]}, "1 entries"),
    ],
)
def test_impossible_sizes_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        small(**changes)


def test_what_sngan_does_not_have_is_refused() -> None:
    G = small()
    z, y = z_and_y()
    for asked in ({"embedding_noise": z}, {"style_mixing": 0.5}, {"low_resolution": 8}):
        with pytest.raises(ValueError, match=next(iter(asked))):
            G.generate(z, y, **asked)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="truncation_cutoff=2"):
        G(z, y, truncation_cutoff=2)
    with pytest.raises(ValueError, match="noise_mode='loud'"):
        G(z, y, noise_mode="loud")
    with pytest.raises(ValueError, match="class 3"):
        G(z, y + 1)
    with pytest.raises(ValueError, match=r"\[6, 7\]"):
        G(z[:, :7], y)
