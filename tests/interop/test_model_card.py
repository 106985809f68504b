"""Model cards: what a run writes, evaluation figures, hostile class names, cards that people have taken over."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from eval import evaluate
from eval.report import Report
from gan_lt.cli import main
from gan_lt.commands import train_command
from gan_lt.config import build_config
from gan_lt.interop.model_card import MARKER, escape_markdown, render_card
from gan_lt.models import Discriminator, Generator
from tests.conftest import TINY_NETWORKS

TINY = ["--resolution=8", "--batch=8", "--kimg=0.016", *TINY_NETWORKS, "training.threads=1"]


def generator(**changes: Any) -> Generator:
    sizes = {"z_dim": 8, "w_dim": 8, "resolution": 8, "channel_max": 8, "mapping_layers": 2}
    return Generator(**{**sizes, "num_classes": 3, **changes})


def metadata(card: str) -> dict[str, Any]:
    assert card.startswith("---\n")
    values = yaml.safe_load(card.split("\n---\n", 1)[0].removeprefix("---\n"))
    assert isinstance(values, dict)
    return values


def table_after(card: str, heading: str) -> list[list[str]]:
    section = card.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    arguments = ["--data", "digits", "--imbalance", "20", "--outdir", str(folder), "--name", "run", *TINY]
    assert train_command([*arguments, "--regularizers=noisytwins"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def report() -> Report:
    rng = np.random.default_rng(0)
    real, fake = (rng.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8) for _ in range(2))
    labels = np.repeat(np.arange(3), 20)

    def features(images: Any) -> Any:
        return np.asarray(images, dtype=np.float64).reshape(len(images), -1)[:, :8]

    return evaluate((real, labels), (fake, labels), features=features, metrics=["fid", "prdc", "ifid"])


def test_a_run_writes_its_card(run: Path) -> None:
    card = (run / "network" / "README.md").read_text()
    assert metadata(card)["library_name"] == "gan_lt"
    rows = table_after(card, "Training data")[2:]
    G = Generator.from_pretrained(run / "network")
    assert [row[1] for row in rows] == list(G.class_names)
    assert [int(row[2]) for row in rows] == list(G.class_counts or ())
    settings = dict(table_after(card, "Training")[2:])
    assert settings["length"] == "0.016 kimg"
    assert settings["batch"] == "8"
    assert "sigma 0.75" in settings["noisytwins"]
    assert "Not evaluated yet" in card
    assert str(run.parent) not in card


def test_the_loading_snippet_runs(run: Path) -> None:
    card = (run / "network" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0].replace('"user/name"', repr(str(run / "network")))
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the snippet is what is tested
    assert names["images"].shape == (4, 1, 8, 8)


def test_the_command_adds_the_evaluation(run: Path, report: Report, tmp_path: Path, capsys: Any) -> None:
    report.to_json(tmp_path / "e.json")
    arguments = [
        "card",
        str(run),
        "--eval",
        str(tmp_path / "e.json"),
        "--license",
        "cc-by-4.0",
        "--title",
        "T",
    ]
    assert main(arguments) == 0
    assert "README.md" in capsys.readouterr().out
    card = (run / "network" / "README.md").read_text()
    values = metadata(card)
    assert values["license"] == "cc-by-4.0"
    measured = {m["type"]: m["value"] for m in values["model-index"][0]["results"][0]["metrics"]}
    # on other features than Inception's it may not be called FID
    assert measured["frechet_distance"] == report.metrics["fid"]
    assert "fid" not in measured
    assert measured["recall"] == report.metrics["recall"]
    figures = {row[0]: row for row in table_after(card, "Evaluation")}
    assert float(figures["coverage"][1]) == pytest.approx(report.metrics["coverage"], abs=5e-4)
    assert sum(row[0] in ("0", "1", "2") for row in table_after(card, "Evaluation")) == 3
    assert settings_length(card) == "0.016 kimg"


def settings_length(card: str) -> str:
    return dict(table_after(card, "Training")[2:])["length"]


def test_the_hub_reads_the_metadata(report: Report) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(render_card(generator().config, report=report, title="insects: rare & <odd>"))
    assert card.data.library_name == "gan_lt"
    assert card.data.pipeline_tag == "unconditional-image-generation"
    results = {r.metric_type: r.metric_value for r in card.data.eval_results}
    assert results["recall"] == pytest.approx(report.metrics["recall"])
    assert hub.ModelCard(render_card(generator().config)).data.eval_results is None


def test_names_can_not_leave_their_cell() -> None:
    names = [
        "a|b",
        "<script>alert(1)</script>",
        "x\n---\nlicense: mit\n# y",
        "{{ 7*7 }} {% raw %} `c` [l](http://u)",
    ]
    card = render_card(generator(num_classes=4, class_names=names).config)
    rows = table_after(card, "Training data")[2:]
    assert len(rows) == 4
    assert all(len(row) == 3 for row in rows)
    assert "<script" not in card
    assert card.count("\n---\n") == 1
    assert "7\\*7" in rows[3][1]
    assert "[l](" not in card.replace("\\[", "")
    assert metadata(card)["license"] == "unknown"


def test_escaping_keeps_ordinary_names() -> None:
    assert escape_markdown("Great tit (Parus major), 2-3 cm") == "Great tit (Parus major), 2-3 cm"
    assert escape_markdown("Äpfel 東京") == "Äpfel 東京"
    assert escape_markdown("a\x00\u2028b\tc") == "a b c"


@pytest.mark.parametrize("num_classes", [0, 1, 31])
def test_other_networks(num_classes: int) -> None:
    card = render_card(generator(num_classes=num_classes, img_channels=1).config)
    assert ("Class-conditional" in card or "class-conditional" in card) == (num_classes > 0)
    assert ("<details>" in card) == (num_classes == 31)
    assert len(table_after(card, "Training data")[2:]) == num_classes
    assert "\n\n\n" not in card


def test_paths_of_the_machine_stay_out() -> None:
    options = {"data.path": "/home/ada/photos", "training.init_from": "/home/ada/net.pkl"}
    config = build_config("custom", options, ["regularizers=cbgan", "cbgan.classifier=/home/ada/judge"])
    card = render_card(generator().config, training=config)
    assert "/home" not in card
    for part in ("photos", "net.pkl", "judge"):
        assert part in card


def test_saving_writes_a_card_once_it_is_taken_over_never_again(tmp_path: Path, capsys: Any) -> None:
    G = generator()
    G.save_pretrained(tmp_path, G.card())
    file = tmp_path / "README.md"
    assert MARKER in file.read_text()
    G.save_pretrained(tmp_path, render_card(G.config, title="Second"))
    assert "# Second" in file.read_text()
    file.write_text(file.read_text().replace(MARKER, "") + "my words")
    before = file.read_bytes()
    G.save_pretrained(tmp_path, G.card())
    assert file.read_bytes() == before
    assert main(["card", str(tmp_path)]) == 2
    assert "changed by hand" in capsys.readouterr().err
    assert main(["card", str(tmp_path), "--out", str(tmp_path / "new" / "CARD.md")]) == 0
    assert file.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "new",
    ]
    assert Discriminator(3, 8, 1, 64, 8, mapping_layers=1).card() is None


def test_bad_input_of_the_command(run: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "e.json").write_text("{}")
    before = (run / "network" / "README.md").read_bytes()
    for arguments, message in (
        ([str(tmp_path)], "holds no saved network"),
        ([str(run), "--eval", str(tmp_path / "e.json")], "is not an evaluation"),
        ([str(run), "--eval", str(tmp_path / "none.json")], "can't be read"),
        ([str(run), "--license", "My: licence"], "--license: 'My: licence'"),
    ):
        assert main(["card", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert (run / "network" / "README.md").read_bytes() == before
