"""The model card (README.md) of a saved generator: what it was trained on, how, how good it is, how to load it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, StrictUndefined

if TYPE_CHECKING:
    from eval.report import Report
    from gan_lt.config import TrainConfig

CARD_NAME = "README.md"
_BACKBONES = {"stylegan2": "StyleGAN2", "sngan": "SNGAN"}
MARKER = "<!-- Written by gan_lt, which writes it again when the network is saved. Remove this line to keep changes. -->"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#!|~$@]|:(?=//))")


def escape_markdown(value: object) -> str:
    r"""Text of any kind as plain words in a line or table cell of Markdown: no markup, no HTML, no line breaks.

    >>> escape_markdown("a|b <b>*x*")
    'a\\|b &lt;b&gt;\\*x\\*'
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text)


def render_card(
    network: Mapping[str, Any],
    *,
    training: TrainConfig | None = None,
    images_seen: int | None = None,
    report: Report | None = None,
    license_id: str = "unknown",
    title: str | None = None,
) -> str:
    """The card as Markdown with YAML metadata that the Hugging Face Hub reads.

    Args:
        network: a generator's `config`. training: of the run that made it. images_seen: real images shown so far.
        report: its evaluation, as `Report.from_json` reads it.
        license_id: an identifier of the Hub, as apache-2.0. title: of the card; None: from the data's name.

    Paths of the machine are left out: data and networks to start from are given by their last part.
    """
    names = network["class_names"] or [str(k) for k in range(network["num_classes"])]
    counts = network["class_counts"]
    data_name = None if training is None or training.data.path is None else PurePath(training.data.path).name
    resolution, channels = network["resolution"], network["img_channels"]
    shown_title = title or (
        f"{data_name}, {resolution}x{resolution}"
        if data_name
        else f"{_BACKBONES[backbone_of(network)]} generator"
    )
    environment = Environment(
        autoescape=False,  # noqa: S701 - Markdown, escaped by the filter
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["md"] = escape_markdown
    source = resources.files("gan_lt.interop") / "templates" / "model_card.md.j2"
    text = environment.from_string(source.read_text(encoding="utf-8")).render(
        front_matter=yaml.safe_dump(
            _metadata(license_id, shown_title, report, backbone_of(network)),
            sort_keys=False,
            allow_unicode=True,
        ),
        marker=MARKER,
        title=shown_title,
        backbone=_BACKBONES[backbone_of(network)],
        size=f"{resolution}x{resolution} {'grey' if channels == 1 else 'colour'}",
        num_classes=network["num_classes"],
        channels=channels,
        resolution=resolution,
        license=license_id,
        data_name=data_name,
        imbalance=None if training is None or not training.data.imbalance else f"{training.data.imbalance:g}",
        total=sum(counts) if counts else None,
        largest=max(counts) if counts else None,
        smallest=min(counts) if counts else None,
        classes=[
            {"name": name, "count": f"{counts[k]:,}" if counts else "-"}
            for k, name in enumerate(names[: network["num_classes"]])
        ],
        settings=_settings(network, training, images_seen),
        **_evaluation(report),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _metadata(license_id: str, title: str, report: Report | None, backbone: str) -> dict[str, Any]:
    """The card's front matter; figures go into `model-index`, as the Hub shows them."""
    metadata: dict[str, Any] = {
        "library_name": "gan_lt",
        "pipeline_tag": "unconditional-image-generation",
        "license": license_id,
        "tags": ["gan", backbone, "long-tail", "imbalanced-data", "image-generation"],
    }
    if report is not None:
        from eval.columns import metric_columns

        metrics = [
            {"type": _metric_type(column.key, report), "name": column.title, "value": value}
            for column in metric_columns(report.distance_name)
            if (value := report.metrics.get(column.key)) is not None
        ]
        real = _set_name(report)
        metadata["model-index"] = [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": "unconditional-image-generation", "name": "Image generation"},
                        "dataset": {"type": re.sub(r"[^\w.-]+", "-", real) or "images", "name": real},
                        "metrics": metrics,
                    }
                ],
            }
        ]
    return metadata


def _metric_type(key: str, report: Report) -> str:
    """The measure's name on the Hub, where "fid" stands for the distance on Inception features alone."""
    if report.distance_name == "FID":
        return key
    return {"fid": "frechet_distance", "ifid": "intra_class_frechet_distance"}.get(key, key)


def _set_name(report: Report) -> str:
    return PurePath(str(report.settings.get("real") or "real images")).name


def backbone_of(network: Mapping[str, Any]) -> str:
    """stylegan2 or sngan, by a generator's `config`."""
    return "stylegan2" if "w_dim" in network else "sngan"


def _settings(
    network: Mapping[str, Any], training: TrainConfig | None, images_seen: int | None
) -> list[tuple[str, str]]:
    if backbone_of(network) == "sngan":
        rows = [
            ("architecture", "ResNet with conditional batch norm"),
            ("channels", str(network["channels"])),
        ]
        rows.append(("z", str(network["z_dim"])))
    else:
        rows = [
            ("architecture", str(network["architecture"])),
            ("channels", f"min({network['channel_base']} / resolution, {network['channel_max']})"),
            (
                "z, w",
                f"{network['z_dim']}, {network['w_dim']}; mapping layers: {network['mapping_layers']}",
            ),
        ]
    if training is None:
        return rows
    loss, length = training.loss, training.training
    rows += [
        ("length", f"{length.kimg if images_seen is None else images_seen / 1000:,} kimg"),
        ("batch", str(length.batch)),
        ("preset", training.preset),
        ("loss", f"{loss.adversarial}, R1 {loss.r1_gamma:g}, R2 {loss.r2_gamma:g}"),
        ("augmentation", training.augment.name),
        ("sampler of real images", training.data.sampler),
        ("classes of generated images", length.generated_labels),
    ]
    for name in training.regularizers:
        section = getattr(training, name).model_dump()
        given = (
            f"{key} {PurePath(value).name if isinstance(value, str) else value}"
            for key, value in section.items()
        )
        rows.append((name, ", ".join(given)))
    if length.init_from is not None:
        rows.append(("started from", PurePath(length.init_from).name))
    rows.append(("seed", str(length.seed)))
    return rows


def _evaluation(report: Report | None) -> dict[str, Any]:
    if report is None:
        return {"figures": [], "evaluated": "", "columns": [], "class_rows": [], "warnings": []}
    from eval.columns import class_columns, format_value, headline, shown_value

    columns = class_columns(report)
    rows = [
        [format_value(shown_value(c.key, row.get(c.key)), c.digits) for c in columns]
        for row in report.per_class
    ]
    n_fake = sum(int(row.get("n_fake") or 0) for row in report.per_class)
    return {
        "figures": headline(report),
        "evaluated": f"{n_fake:,} generated images against {_set_name(report)}, features: {report.features['name']}.",
        "columns": columns,
        "class_rows": rows,
        "warnings": report.warnings,
    }


__all__ = ["CARD_NAME", "MARKER", "escape_markdown", "render_card"]
