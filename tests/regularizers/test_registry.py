"""The configuration reaches the methods: each is built with its own section, and with what it needs of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_lt import processes
from gan_lt.classifier.network import Classifier
from gan_lt.config import TrainConfig
from gan_lt.errors import InputError
from gan_lt.losses import ADVERSARIAL_LOSSES
from gan_lt.models import Discriminator, Generator, SnganGenerator
from gan_lt.regularizers import (
    REGULARIZERS,
    ClassBalance,
    GroupSpectral,
    Latents,
    LeCam,
    StepBatch,
    Term,
    TermContext,
    Transitional,
    Utlo,
    build_terms,
    generator_form,
)

COUNTS = [40, 15, 5]
HINGE = ADVERSARIAL_LOSSES["hinge"]
Build = Callable[..., Any]


@pytest.fixture
def build() -> Build:
    """``build("gsr", weight=2.0)``: the one method, built as a run of 16x16 images of three classes builds it."""

    def one(name: str, generator: Any = None, **settings: Any) -> Term:
        torch.manual_seed(0)
        sizes: dict[str, Any] = {"num_classes": 3, "resolution": 16, "channel_base": 64, "channel_max": 8}
        section = getattr(TrainConfig.model_validate({name: settings}), name)
        form = generator_form([name], {name: section})
        G = generator or Generator(z_dim=8, w_dim=8, mapping_layers=2, **sizes, **form)
        D = Discriminator(mapping_layers=1, **sizes)
        context = TermContext(COUNTS, G, D, HINGE, torch.neg, G.conditioning_parameters, 8, settings)
        (term,) = build_terms([name], {name: context})
        assert term.name == name
        return term

    return one


def step_batch(step: int = 0, **parts: Any) -> StepBatch:
    nothing = torch.zeros(2, 2)
    return StepBatch("generator", step, Latents(nothing, None), nothing, nothing, torch.zeros(2), **parts)


def test_gsr_reads_the_generators_tables(build: Build) -> None:
    term = build("gsr", weight=2.0, beta=0.5, iterations=7)
    assert isinstance(term, GroupSpectral)
    assert (term.weight, term.beta, term.iterations) == (2.0, 0.5, 7)
    assert term.counts.tolist() == COUNTS
    assert len(term._parameters_now()) == 1


def test_gsr_counts_gain_and_bias_as_one_layer(build: Build) -> None:
    G = SnganGenerator(z_dim=8, num_classes=3, resolution=32, channels=8)
    with torch.no_grad():
        for table in G.conditioning_parameters():
            table.fill_(1.0)
    loss = build("gsr", G, weight=1.0, beta=0.0, iterations=4).generator_loss(step_batch())
    # a matrix of ones has the norm sqrt(d); each layer has two tables, gain and bias, that add up
    d = G.conditioning_parameters()[0].shape[1]
    torch.testing.assert_close(loss, torch.tensor(2.0 * d))


def test_cbgan_reads_the_classifier(build: Build, tmp_path: Path) -> None:
    Classifier(3, resolution=16, img_channels=3, class_names=["0", "1", "2"]).save_pretrained(tmp_path)
    term = build("cbgan", classifier=str(tmp_path), weight=3.0, decay=0.25, form="decay", cycle=9)
    assert isinstance(term, ClassBalance)
    assert (term.weight, term.cycle, term.class_names) == (3.0, 9, ["0", "1", "2"])
    assert (term.class_statistics.decay, term.class_statistics.form) == (0.25, "decay")
    with pytest.raises(InputError, match="gan-lt classifier train"):
        build("cbgan", classifier=None)


def test_lecam_is_built_with_its_section(build: Build) -> None:
    term = build("lecam", weight=0.3, decay=0.5)
    assert isinstance(term, LeCam)
    assert (term.weight, term.decay) == (0.3, 0.5)


def test_utlo_judges_small_images_and_has_the_generator_make_them(build: Build) -> None:
    term = build("utlo", weight=0.5, resolution=8)
    assert isinstance(term, Utlo)
    assert (term.weight, term.low_resolution) == (0.5, 8)
    low = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    loss = term.generator_loss(step_batch(low_resolution=low))
    # the configured loss of the head, and the configured augmentation, which negates here
    torch.testing.assert_close(loss, HINGE.generator(term.head(-low), None).mean())
    with pytest.raises(InputError, match=r"utlo: .*16"):
        build("utlo", Generator(z_dim=8, num_classes=3, w_dim=8, resolution=16, channel_max=8), resolution=16)


def test_transitional_fades_the_generators_classes(build: Build) -> None:
    G = Generator(z_dim=8, num_classes=3, w_dim=8, resolution=16, channel_max=8, fading_classes=True)
    term = build("transitional", G, weight=0.5, start_step=10, end_step=20, remaining=0.25)
    assert isinstance(term, Transitional)
    assert (term.weight, term.start_step, term.end_step, term.remaining) == (0.5, 10, 20, 0.25)
    term.prepare(Latents(torch.zeros(2, 8), torch.zeros(2, dtype=torch.int64)), "generator", 15)
    assert float(G.mapping.class_scale) == 0.5  # type: ignore[arg-type]
    features = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))
    loss = term.generator_loss(step_batch(fake_features=features))
    torch.testing.assert_close(loss, HINGE.generator(term.head(features).squeeze(1), None).mean())


@pytest.mark.parametrize("name", ["noisytwins", "gsr", "lecam", "utlo", "transitional"])
def test_the_defaults_of_a_method_are_those_of_the_configuration(name: str, build: Build) -> None:
    def settings(term: Term) -> dict[str, Any]:
        plain = {key: value for key, value in vars(term).items() if isinstance(value, int | float | str)}
        return plain | {key: value.tolist() for key, value in term.named_buffers()}

    G = Generator(z_dim=8, num_classes=3, w_dim=8, resolution=16, channel_max=8, fading_classes=True)
    configured = getattr(TrainConfig(), name).model_dump()
    expected = settings(build(name, G, **configured))
    given = {"resolution": 8} if name == "utlo" else {}  # the head is built before the term
    assert settings(build(name, G, **given)) == expected


def test_the_class_balance_defaults_are_those_of_the_configuration() -> None:
    configured, term = TrainConfig().cbgan, ClassBalance(torch.nn.Identity(), 3)
    assert (term.name, term.weight, term.cycle) == ("cbgan", configured.weight, configured.cycle)
    statistics = term.class_statistics
    assert (statistics.decay, statistics.form) == (configured.decay, configured.form)


def test_the_forms_of_several_methods_are_put_together() -> None:
    config = TrainConfig.model_validate({"utlo": {"resolution": 16}})
    sections = {name: getattr(config, name) for name in REGULARIZERS}
    assert generator_form(list(REGULARIZERS), sections) == {
        "unconditional_resolution": 16,
        "fading_classes": True,
    }
    assert generator_form(["lecam", "utlo"], sections) == {"unconditional_resolution": 16}
    assert generator_form([], sections) == {}


def test_a_method_that_overrides_nothing_changes_nothing() -> None:
    term = Term("plain", 0.0)
    latents, logits = Latents(torch.zeros(2, 8), None), torch.randn(2)
    assert term.prepare(latents, "generator", 0) is latents
    assert term.generator_loss(step_batch()) is None
    assert term.discriminator_loss(step_batch()) is None
    assert term.adversarial_weight(0) == 1.0
    assert term.verdict(logits, torch.zeros(2, 3), 0) is logits
    assert (term.low_resolution, term.statistics()) == (None, {})


def test_each_process_keeps_its_own_rows_of_all_that_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    monkeypatch.setattr(processes, "rank", lambda: 1)
    monkeypatch.setattr(processes, "_group_size", None)
    rows = torch.arange(6)
    own = Latents(rows[:, None].float(), rows, rows[:, None] * 10.0, rows.flip(0)).own_rows()
    assert own.z.flatten().tolist() == [3, 4, 5]
    assert own.y is not None
    assert own.y.tolist() == [3, 4, 5]
    assert own.embedding_noise is not None
    assert own.embedding_noise.flatten().tolist() == [30, 40, 50]
    assert own.origin is not None
    assert own.origin.tolist() == [2, 1, 0]
    unconditional = Latents(rows[:, None].float(), None).own_rows()
    assert (unconditional.y, unconditional.embedding_noise, unconditional.origin) == (None, None, None)
