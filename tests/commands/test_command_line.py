"""Mistyped commands and options: one line that names what was meant, and nothing around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from eval.command import main as evaluate
from gan_lt.cli import main
from gan_lt.commands import generate_command, train_command
from gan_lt.version import __version__

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("train --kimgs 3", "--kimgs is not an option (did you mean --kimg?)"),
        ("train loss.r1_gamma=1 --kimgs=3", "--kimgs is not an option (did you mean --kimg?)"),
        ("train --data digits --qqqqq", "--qqqqq is not an option; gan-lt train --help"),
        ("train --kimg", "argument --kimg: expected one argument; gan-lt train --help"),
        ("train --profile x", "invalid choice: 'x'"),
        ("train --res 8", "could match --resolution, --resume"),
        ("generate --netwrk x --outdir o --per-class 3", "(did you mean --network?)"),
        ("generate --network x --outdir o --per-clas 3 --to x", "invalid int value: 'x'"),
        ("dataset inspect digits --resolutoin 8", "(did you mean --resolution?)"),
        ("classifier train --data digits --oudir x", "required: --outdir; --oudir is not an option"),
        ("eval --rael digits", "required: --real, --fake; --rael is not an option (did you mean --real?)"),
        ("eval compare a.json", "B.json"),
    ],
)
def test_a_mistyped_option_is_one_line(typed: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(typed.split())
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err


def test_abbreviated_options_are_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--prof", "exp", "--kimg", "x"])
    assert "not an option" not in capsys.readouterr().err


def test_scripts_have_the_same_manners(capsys: pytest.CaptureFixture[str]) -> None:
    for command, prog in (
        (train_command, "train.py"),
        (generate_command, "generate.py"),
        (evaluate, "python -m eval"),
    ):
        with pytest.raises(SystemExit):
            command(["--devise", "cpu"])
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "did you mean --device?" in err
        assert f"{prog} --help" in err


def test_a_mistyped_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == (
        "error: 'trian' is not a command (did you mean train?); gan-lt --help lists them\n"
    )


def test_the_package_runs_as_the_command() -> None:
    for arguments, status in ((["--version"], 0), (["trian"], 2)):
        command = [sys.executable, "-m", "gan_lt", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert done.stdout == (f"gan-lt {__version__}\n" if status == 0 else "")
