"""Nothing lost whatever happens: `python -m benchmarks.faults [--kills 100] [--seed N] [--json FILE]`.

A tiny training and the generation of tiny sets are struck at random moments, each time given again, and compared with
undisturbed ones. A strike is a kill -9 or a SIGTERM at a random moment, a kill -9 just before or after a random file is
saved, synced or renamed, or a power loss: a kill after which the newest file is torn and a temporary one lies beside it.

Every attempt is a fork of this process, which has imported PyTorch, so "time to resume" is without that import. It ends
with status 1 when any byte differs, an image is lost or doubled, a file is left behind, or a command fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.digits_judge import cpu_name
from benchmarks.left_on_disk import (
    bytes_that_differ,
    contents_of_run,
    contents_of_set,
    left_behind,
    lost_and_doubled,
)
from benchmarks.struck_process import Account, Outcome, Strike, run_struck
from eval.atomic_file import write_text
from eval.versions import versions

TINY = (
    "generator.z_dim=8 generator.w_dim=8 generator.channel_base=64 generator.channel_max=8 generator.mapping_layers=2 "
    "discriminator.mbstd_group_size=4 discriminator.mapping_layers=1 loss.r1_gamma=0.1 loss.penalty_interval=4 "
    "training.batch=200 training.kimg=12 training.tick_kimg=1 training.checkpoint_ticks=1 training.threads=1 "
    "data.horizontal_flips=true"
).split()
PER_CLASS = 500
FORMATS = ("folder", "zip", "webdataset")


def main() -> int:
    """Strike, resume, compare; print the account, and write it with --json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kills", type=int, default=100, metavar="N", help="strikes, half while training (100)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of moments and kinds (0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the account")
    options = parser.parse_args()
    if options.kills < 2:
        parser.error(f"--kills is {options.kills}; at least 2 are needed, one training and one generating")
    _import_everything()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        training = strike_training(place, (options.kills + 1) // 2, rng)
        generating = strike_generating(place, options.kills // 2, rng)
    account = {
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.platform(), **versions()},
        "seed": options.seed,
        "training": training,
        "generating": generating,
    }
    for name, found in (("training", training), ("generating", generating)):
        print(
            f"{name}: {found['kills']} kills {found['kinds']}, {found['resumes']} resumes of {found['runs']} runs\n"
            f"  bytes that differ {found['bytes_that_differ']}, images lost {found['images_lost']}, doubled "
            f"{found['images_doubled']}, files left behind {found['files_left_behind']}, failures {found['failures']}\n"
            f"  time to resume, without importing PyTorch: median {found['resume_seconds']['median']} s, longest "
            f"{found['resume_seconds']['max']} s; longest from SIGTERM to the end {found['stop_seconds_max']} s"
        )
    if options.json is not None:
        write_text(options.json, json.dumps(account, indent=1) + "\n")
    wrong = ("bytes_that_differ", "images_lost", "images_doubled", "files_left_behind", "failures")
    return int(any(found[key] for found in (training, generating) for key in wrong))


def _import_everything() -> None:
    import torch
    import torch.utils.tensorboard  # slow to import, and wanted by every attempt

    from cuda_ops import backend_info
    from gan_lt import generation, training  # noqa: F401
    from gan_lt.sampling import writing  # noqa: F401

    torch.set_num_threads(1)
    backend_info()


def draw_strike(rng: np.random.Generator, seconds: float, writes: int) -> Strike:
    """One of the kinds, within `seconds` of the start or `writes` saved files."""
    kind = str(rng.choice(["kill", "term", "write", "power"]))
    call = int(np.exp(rng.uniform(0, np.log(writes + 1))))
    return Strike(kind, float(rng.uniform(0, seconds)), call, bool(rng.integers(2)))


def strike_training(place: Path, kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """Train, struck until there are `kills`; each run that ends is compared with the undisturbed one."""
    data = make_data(place / "data.zip")
    account, log = Account(), place / "training.log"

    def attempt(name: str, strike: Strike | None) -> Outcome:
        run = place / "runs" / name
        given = ["--resume", str(run)] if (run / "config.yaml").exists() else _new_run(data, name, place)
        return run_struck(_command("train"), given, strike, log, _watch_training)

    whole = attempt("whole", None)
    account.add(whole, None, False)
    while account.kills < kills:
        name, resumed, stopped = f"struck-{account.runs}", False, False
        account.runs += 1
        while True:
            strike = draw_strike(rng, whole.seconds / 2, 60) if account.kills < kills else None
            outcome = attempt(name, strike)
            account.add(outcome, strike, resumed)
            if not outcome.struck:
                break
            stopped = stopped or (strike is not None and strike.kind == "term")
            if strike is not None and strike.kind == "power":
                lose_power(place / "runs" / name, rng)
            resumed = True
        run = place / "runs" / name
        expected = contents_of_run(place / "runs" / "whole", stopped=stopped)
        account.differing += bytes_that_differ(expected, contents_of_run(run, stopped=stopped))
        account.left_behind += len(left_behind(run))
    return account.result()


def _new_run(data: Path, name: str, place: Path) -> list[str]:
    return ["--data", str(data), "--outdir", str(place / "runs"), "--name", name, "--device", "cpu", *TINY]


def make_data(path: Path, counts: Sequence[int] = (40, 15, 5)) -> Path:
    """A zip of random 8x8 images in classes of these sizes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for k, count in enumerate(counts):
            for index in range(count):
                with archive.open(f"class{k}/{index}.png", "w") as file:
                    Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(file, "PNG")
    return path


def lose_power(run: Path, rng: np.random.Generator) -> None:
    """Tear the newest checkpoint, where another is behind it, and the statistics; leave a half-written file.

    Lines of statistics are on the disk before the checkpoint behind them is, so those of checkpoints that stay whole stay.
    """
    from gan_lt.training.checkpoint import list_checkpoints

    checkpoints = list_checkpoints(run / "checkpoints")
    if checkpoints:
        newest = checkpoints[-1]
        half = newest.read_bytes()[: newest.stat().st_size // 2]
        (newest.parent / f".{newest.name}.1").write_bytes(half)
        if len(checkpoints) > 1:
            os.truncate(newest, int(rng.integers(0, newest.stat().st_size)))
    statistics_file = run / "stats.jsonl"
    if statistics_file.exists() and statistics_file.stat().st_size:
        whole = checkpoints[-2:-1] or checkpoints
        lines = statistics_file.read_bytes().splitlines(keepends=True)
        synced = sum(len(line) for line in lines if whole and _kimg(line) <= int(whole[0].stem.split("-")[1]))
        size = statistics_file.stat().st_size
        os.truncate(statistics_file, size - int(rng.integers(0, min(size - synced, 100) + 1)))


def _kimg(line: bytes) -> float:
    """What a line of statistics says; a torn one comes after all others."""
    try:
        return float(json.loads(line)["kimg"])
    except ValueError:
        return float("inf")


def strike_generating(place: Path, kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """Generate sets of every format, struck until there are `kills`, each compared with an undisturbed one."""
    from gan_lt.sampling.unfinished import unfinished_path

    account, log = Account(), place / "generating.log"
    network = place / "runs" / "whole" / "network"

    def attempt(out: Path, form: str, strike: Strike | None) -> Outcome:
        given = ["--network", str(network), "--outdir", str(out), "--per-class", str(PER_CLASS)]
        given += ["--format", form, "--device", "cpu", "--seed", "3"]
        return run_struck(_command("generate"), given, strike, log, _watch_generating)

    whole = {form: _set_name(place, "whole", form) for form in FORMATS}
    seconds = {}
    for form, out in whole.items():
        undisturbed = attempt(out, form, None)
        account.add(undisturbed, None, False)
        seconds[form] = undisturbed.seconds
    while account.kills < kills:
        form = FORMATS[account.runs % len(FORMATS)]
        out, resumed = _set_name(place, f"struck-{account.runs}", form), False
        account.runs += 1
        while True:
            strike = draw_strike(rng, seconds[form] / 2, PER_CLASS) if account.kills < kills else None
            outcome = attempt(out, form, strike)
            account.add(outcome, strike, resumed)
            if not outcome.struck:
                break
            if strike is not None and strike.kind == "power":
                _tear_newest_image(out, rng)
            if out.exists() and not unfinished_path(out).exists():
                break  # struck after everything was done: the same command would rightly refuse
            resumed = True
        account.differing += bytes_that_differ(contents_of_set(whole[form]), contents_of_set(out))
        lost, doubled = lost_and_doubled(whole[form], out)
        account.lost, account.doubled = account.lost + lost, account.doubled + doubled
        account.left_behind += unfinished_path(out).exists()
        account.left_behind += len(left_behind(out)) if out.is_dir() else 0
    return account.result()


def _set_name(place: Path, name: str, form: str) -> Path:
    return place / f"{name}-{form}{'.zip' if form == 'zip' else ''}"


def _tear_newest_image(out: Path, rng: np.random.Generator) -> None:
    """Empty the file that was saved last: without a sync, its name can outlive a power loss and its bytes not."""
    from gan_lt.sampling.unfinished import unfinished_path

    work = unfinished_path(out)
    saved = [
        file
        for folder in (work / "set", work / "units")
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith(".")
    ]
    if saved:
        os.truncate(max(saved, key=lambda file: file.stat().st_mtime_ns), 0)


def _command(name: str) -> Callable[[Sequence[str]], int]:
    from gan_lt.commands import generate_command, run_command, train_command

    command = train_command if name == "train" else generate_command
    return lambda arguments: run_command(command, arguments)


def _watch_training(work_done: Callable[[], None]) -> None:
    from gan_lt.training import loop

    step = loop.training_step

    def watched(*arguments: Any) -> None:
        step(*arguments)
        work_done()

    loop.training_step = watched


def _watch_generating(work_done: Callable[[], None]) -> None:
    from gan_lt.sampling import writing

    sample = writing.sample_images

    def watched(*arguments: Any) -> Any:
        images = sample(*arguments)
        work_done()
        return images

    writing.sample_images = watched


if __name__ == "__main__":
    sys.exit(main())
