"""Every reader of what others wrote, with valid samples of what it reads and the ways to damage them."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.faults import make_data
from benchmarks.mutations import (
    Mutation,
    either,
    mutate_bytes,
    mutate_document,
    mutate_json,
    mutate_safetensors,
    mutate_tar,
    mutate_zip,
)


@dataclass(frozen=True)
class Reader:
    """read: reads bytes, raising InputError for bad ones. samples: valid ones. mutate: damages one."""

    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    mutate: Mutation


def readers(place: Path) -> dict[str, Reader]:
    """All readers by name; `place` is an empty folder for the files they want."""
    from eval.manifest import read_manifest
    from gan_lt.config import dump_yaml, preset_values, read_yaml, validate
    from gan_lt.data import open_image_set
    from gan_lt.data.decoding import decode_image, read_header
    from gan_lt.data.labelling import labels_from_json
    from gan_lt.interop import load_stylegan2_ada
    from gan_lt.models import Generator
    from gan_lt.sampling import plan_from_file, write_synthetic_set
    from gan_lt.sampling.plan import plan_per_class
    from gan_lt.training.checkpoint import load_checkpoint
    from gan_lt.training.diagnosis import examine

    generator = Generator(
        z_dim=8,
        num_classes=3,
        w_dim=8,
        resolution=8,
        img_channels=1,
        channel_base=64,
        channel_max=8,
        mapping_layers=2,
    ).eval()
    config, weights = _saved(generator, place)

    def written(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)

        def call(data: bytes) -> object:
            file.write_bytes(data)
            return read(file)

        return call

    def network(data: bytes, other: bytes, name: str) -> object:
        folder = place / "network"
        (folder / name).write_bytes(data)
        (folder / ("model.safetensors" if name == "config.json" else "config.json")).write_bytes(other)
        return Generator.from_pretrained(folder)

    def image(data: bytes) -> object:
        read_header(io.BytesIO(data), lambda: "image")
        return [decode_image(io.BytesIO(data), lambda: "image", *to) for to in ((8, 3), (None, 1))]

    write_synthetic_set(generator, plan_per_class(generator, 2), place / "set")
    manifest = (place / "set" / "manifest.json").read_bytes()
    listed = json.loads(manifest)["images"]
    names = [f"{'abc'[i % 3]}/{i}.png" for i in range(9)]
    labels = [[name, i % 3] for i, name in enumerate(names)]
    descriptions = (
        {"labels": labels, "class_names": ["a", "b", "c"]},
        {"labels": dict(labels)},
    )
    stats = [{"kimg": i, "time": 1.0 + i, "D/adversarial": 0.7, "G/adversarial": 1.0} for i in range(9)]
    for line in stats:
        line["per_class"] = {"a": {"recall": 0.1}}  # type: ignore[assignment]
    (place / "run").mkdir()
    (place / "run" / "config.yaml").write_text(dump_yaml(validate(preset_values("digits-lt"))))
    yaml_sample = dump_yaml(validate({**preset_values("digits-lt")})).encode()
    return {
        "image": Reader(image, _images(), mutate_bytes),
        "zip": Reader(
            written("fuzz.zip", open_image_set),
            (make_data(place / "valid.zip", (3, 2, 1)).read_bytes(),),
            either(mutate_bytes, mutate_zip, mutate_zip),
        ),
        "shard": Reader(
            written("shards/fuzz.tar", open_image_set),
            _shards(),
            either(mutate_bytes, mutate_tar, mutate_tar),
        ),
        "list": Reader(
            written("set/fuzz.txt", open_image_set),
            ("".join(f"{image['file']} {i % 3}\n" for i, image in enumerate(listed)).encode(),),
            mutate_bytes,
        ),
        "annotations": Reader(
            written("set/fuzz.json", open_image_set),
            (json.dumps(_annotations([image["file"] for image in listed])).encode(),),
            either(mutate_bytes, mutate_json, mutate_json),
        ),
        "dataset.json": Reader(
            lambda data: labels_from_json(data, names, "fuzz"),
            tuple(json.dumps(description).encode() for description in descriptions),
            either(mutate_bytes, mutate_json, mutate_json),
        ),
        "manifest": Reader(
            written("manifested/manifest.json", lambda file: read_manifest(file.parent)),
            (manifest,),
            either(mutate_bytes, mutate_json, mutate_json),
        ),
        "config": Reader(
            written("config.yaml", lambda file: validate(read_yaml(file), where=f"{file}: ")),
            (yaml_sample,),
            either(mutate_bytes, mutate_bytes, _mutate_yaml),
        ),
        "checkpoint": Reader(
            written("kimg-000001.safetensors", load_checkpoint),
            (_checkpoint(place),),
            either(mutate_safetensors, mutate_safetensors, _mutate_state),
        ),
        "network config": Reader(
            lambda data: network(data, weights, "config.json"),
            (config,),
            either(mutate_bytes, mutate_json, mutate_json),
        ),
        "network weights": Reader(
            lambda data: network(data, config, "model.safetensors"), (weights,), mutate_safetensors
        ),
        "counts": Reader(
            written("counts.json", lambda file: plan_from_file(generator, file)),
            (b'{"0": 3, "2": 17}',),
            either(mutate_bytes, mutate_json, mutate_json),
        ),
        "pickle": Reader(written("net.pkl", load_stylegan2_ada), _pickles(), mutate_bytes),
        "stats": Reader(
            written("run/stats.jsonl", lambda file: examine(file.parent)),
            ("".join(json.dumps(line) + "\n" for line in stats).encode(),),
            either(mutate_bytes, _mutate_lines, _mutate_lines),
        ),
    }


def _images() -> tuple[bytes, ...]:
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    saved: list[tuple[Image.Image, str, dict[str, object]]] = [
        (colour, "PNG", {}),
        (colour.convert("L"), "PNG", {}),
        (colour.convert("RGBA"), "PNG", {}),
        (colour.convert("P"), "PNG", {"transparency": 0}),
        (Image.fromarray(rng.integers(0, 65536, (12, 12), dtype=np.uint16)), "PNG", {}),
        (colour, "JPEG", {"exif": exif}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "BMP", {}),
        (colour, "GIF", {}),
        (colour, "WEBP", {}),
        (colour, "TIFF", {"compression": "tiff_lzw"}),
        (colour, "TIFF", {}),
        (colour, "PPM", {}),
    ]
    samples = []
    for image, form, options in saved:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        samples.append(buffer.getvalue())
    return tuple(samples)


def _shards() -> tuple[bytes, ...]:
    """A shard in every form of tar, with labels of each kind."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(4):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
        images.append(buffer.getvalue())
    labels: tuple[Callable[[int], tuple[str, bytes]], ...] = (
        lambda i: ("cls", str(i % 2).encode()),
        lambda i: ("json", json.dumps({"label": i % 2, "class_name": "ab"[i % 2]}).encode()),
        lambda i: ("txt", b"a caption"),
    )
    samples = []
    for form, label in zip(
        (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT), labels, strict=True
    ):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as shard:
            for i, data in enumerate(images):
                long = "" if form == tarfile.USTAR_FORMAT else "é" * 120
                for extension, content in (("png", data), label(i)):
                    member = tarfile.TarInfo(f"{'ab'[i % 2]}/{long}{i}.{extension}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
        samples.append(buffer.getvalue())
    return tuple(samples)


def _annotations(files: list[str]) -> dict[str, object]:
    return {
        "images": [{"id": i, "file_name": file} for i, file in enumerate(files)],
        "annotations": [{"image_id": i, "category_id": i % 3} for i in range(len(files))],
        "categories": [{"id": i, "name": name} for i, name in enumerate("abc")],
    }


def _saved(generator: torch.nn.Module, place: Path) -> tuple[bytes, bytes]:
    folder = place / "network"
    generator.save_pretrained(folder)  # type: ignore[operator]
    return (folder / "config.json").read_bytes(), (folder / "model.safetensors").read_bytes()


def _checkpoint(place: Path) -> bytes:
    from gan_lt.training.checkpoint import save_checkpoint

    state = {
        "step": 3,
        "G": {"weight": torch.ones(2, 3)},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}},
    }
    return save_checkpoint(place / "checkpoints", state | {"list": [1, "a", None, 0.5]}, 1000, 1).read_bytes()


def _mutate_state(data: bytes, random: random.Random) -> bytes:
    """A checkpoint whose description of the state is damaged and has a right checksum again."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header["__metadata__"]
    metadata["state"] = json.dumps(mutate_document(json.loads(metadata["state"]), random))
    metadata["state_sha256"] = hashlib.sha256(metadata["state"].encode()).hexdigest()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _mutate_yaml(data: bytes, random: random.Random) -> bytes:
    import yaml

    if random.random() < 0.2:
        text = random.choice(
            (
                b"a: &a [*a]",
                b"&a [*a, *a]",
                b"!!python/object/apply:os.system ['true']",
                b"? [a]\n: 1",
                b"{[1]: 2}",
                b"a: &x " + b"[" * 400,
                b"training: {batch: 1e400}",
                b"%YAML 9.9\n---\na: 1",
                b"a: 2001-99-99",
                b"a: &a [x,x,x,x,x,x,x,x,x]\n"
                + b"".join(
                    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((k, k) + (k - 1,) * 8)
                    for k in range(98, 115)
                )
                + b"training: *r",
            )
        )
        return data + b"\n" + text if random.random() < 0.3 else text
    return json.dumps(mutate_document(yaml.safe_load(data), random)).encode()


def _mutate_lines(data: bytes, random: random.Random) -> bytes:
    lines = data.splitlines()
    at = random.randrange(len(lines))
    lines[at] = mutate_json(lines[at], random)
    return b"\n".join(lines)


def _pickles() -> tuple[bytes, ...]:
    import pickle
    from collections import OrderedDict

    tensors = OrderedDict(weight=torch.ones(2, 3), bias=torch.nn.Parameter(torch.zeros(2)))
    return tuple(
        pickle.dumps(
            {"G_ema": tensors, "D": {"b4.out.weight": torch.ones(1, 2)}, "n": [1, 2.5, None]},
            protocol=protocol,
        )
        for protocol in (2, 3, 4)
    )
