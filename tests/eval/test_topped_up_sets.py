"""Sets made to top up others: the largest class has no made images, and copies of real ones may lie beside."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval import evaluate
from eval.evaluation import EvaluationOptions
from eval.utility import UtilitySettings
from gan_lt.errors import InputError

Arrays = tuple[np.ndarray, np.ndarray]


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32)


def write_set(root: Path, images: np.ndarray, labels: np.ndarray, copied: Arrays | None = None) -> Path:
    """Made images of the classes 1 to 9, none of 0, as generate.py --top-up writes them, with copies if given."""
    entries: list[dict[str, Any]] = []
    for kind, (pixels, classes) in {
        "": (images, labels),
        "real-": copied or (images[:0], labels[:0]),
    }.items():
        for index, (image, label) in enumerate(zip(pixels, classes, strict=True)):
            if label == 0 and not kind:
                continue
            file = f"{label}/{kind}{index:06d}.png"
            (root / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(root / file)
            facts = {"real": str(index)} if kind else {"seed": index, "truncation_psi": 1.0}
            entries.append({"file": file, "class": str(label), **facts})
    counts = np.bincount(labels, minlength=10)
    classes = [{"name": str(k), "real": 60 - 5 * k, "made": int(counts[k]) if k else 0} for k in range(10)]
    (root / "manifest.json").write_text(json.dumps({"classes": classes, "images": entries}))
    return root


def test_a_class_nobody_asked_for_is_left_out_and_said(
    tmp_path: Path, held_out: Arrays, good_fake: Arrays
) -> None:
    folder = write_set(tmp_path / "set", *good_fake)
    report = evaluate("digits", folder, flat, "fid,ifid,prdc", options=EvaluationOptions(replicates=0))
    assert [row["name"] for row in report.per_class] == [str(k) for k in range(1, 10)]
    assert report.settings["not_asked_classes"] == ["0"]
    assert any("No images of 0 were asked for" in said for said in report.warnings)
    rest = [(images[labels != 0], labels[labels != 0]) for images, labels in (held_out, good_fake)]
    expected = evaluate(*rest, flat, "fid", options=EvaluationOptions(replicates=0))
    assert report.metrics["fid"] == pytest.approx(expected.metrics["fid"], rel=1e-9)

    # a zip of the same says the same
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder).as_posix())
    again = evaluate("digits", tmp_path / "set.zip", flat, "fid", options=EvaluationOptions(replicates=0))
    assert again.metrics["fid"] == report.metrics["fid"]


def test_a_class_that_was_asked_for_is_still_an_error(tmp_path: Path, good_fake: Arrays) -> None:
    folder = write_set(tmp_path / "set", *good_fake)
    document = json.loads((folder / "manifest.json").read_text())
    document["classes"][0]["made"] = 7
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="has no images of '0'"):
        evaluate("digits", folder, flat, "fid")
    document["classes"][0] |= {"made": 0, "wanted": 7}  # all candidates were refused
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="has no images of '0'"):
        evaluate("digits", folder, flat, "fid")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json of .* can't be read"):
        evaluate("digits", folder, flat, "fid")


def test_copies_of_real_images_are_left_out(tmp_path: Path, good_fake: Arrays, training_rest: Arrays) -> None:
    made = evaluate(
        "digits",
        write_set(tmp_path / "made", *good_fake),
        flat,
        "fid,memorization",
        train=training_rest,
        options=EvaluationOptions(replicates=0),
    )
    both = evaluate(
        "digits",
        write_set(tmp_path / "both", *good_fake, copied=training_rest),
        flat,
        "fid,memorization",
        train=training_rest,
        options=EvaluationOptions(replicates=0),
    )
    assert both.metrics == made.metrics
    assert both.metrics["memorization"] < 0.5
    assert both.settings["n_copied_left_out"] == len(training_rest[1])
    assert any("600 copies of real images" in said for said in both.warnings)
    assert made.settings["n_copied_left_out"] == 0


def test_utility_tops_up_with_it(tmp_path: Path, good_fake: Arrays, training_rest: Arrays) -> None:
    images, labels = training_rest
    kept = np.flatnonzero((labels == 0) | (np.arange(len(labels)) % 3 == 0))
    report = evaluate(
        "digits",
        write_set(tmp_path / "set", *good_fake),
        flat,
        "utility",
        train=(images[kept], labels[kept]),
        options=EvaluationOptions(utility=UtilitySettings(seeds=1, images_seen=640, replicates=10)),
    )
    assert report.utility is not None
    assert list(report.utility["arms"]) == ["real", "augmented", "topped_up"]
    assert report.utility["top_up"]["0"] == {"used": 0, "lacking": 0}
    assert set(report.utility["arms"]["topped_up"]["per_class"]) == {str(k) for k in range(10)}
    assert any("synthetic images alone is left out" in said for said in report.warnings)
    report.to_html(tmp_path / "page.html")
    assert "synthetic alone" not in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize("spec", ["set", "set/0.tar", "set/{0..0}.tar", "set/*.tar"])
def test_copies_in_shards_are_left_out_however_the_shards_are_named(
    tmp_path: Path, good_fake: Arrays, training_rest: Arrays, spec: str
) -> None:
    made = write_set(tmp_path / "made", *good_fake)
    both = write_set(tmp_path / "both", *good_fake, copied=training_rest)
    manifest = json.loads((both / "manifest.json").read_text())
    (tmp_path / "set").mkdir()
    with tarfile.open(tmp_path / "set" / "0.tar", "w") as shard:
        for index, image in enumerate(manifest["images"]):
            content = (both / image["file"]).read_bytes()
            image["file"] = f"0.tar/{index}.png"
            for name, data in ((f"{index}.png", content), (f"{index}.cls", image["class"].encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
    (tmp_path / "set" / "manifest.json").write_text(json.dumps(manifest))
    options = EvaluationOptions(replicates=0)
    found = evaluate("digits", tmp_path / spec, flat, "fid", options=options)
    assert found.settings["n_copied_left_out"] == len(training_rest[1])
    expected = evaluate("digits", made, flat, "fid", options=options)
    assert found.metrics["fid"] == pytest.approx(expected.metrics["fid"], rel=1e-9)
