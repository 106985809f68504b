"""The completion scripts: every command and option, in the shells themselves where they are there."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from gan_lt import cli
from gan_lt.completion import SHELLS, parsers


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


def test_every_command_has_its_parser() -> None:
    assert set(parsers()) == set(cli._COMMANDS)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_long_option_is_in_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    for name, make in parsers().items():
        assert name in text
        for action in make(name)._actions:
            for option in action.option_strings:
                if option.startswith("--") and action.help != argparse.SUPPRESS:
                    assert option.lstrip("-") in text, (name, option)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["gan-lt", "gen"], ["generate"]),
        (["gan-lt", "train", "--imb"], ["--imbalance"]),
        (["gan-lt", "dataset", "ins"], ["inspect"]),
        (["gan-lt", "completion", "z"], ["zsh"]),
    ],
)
def test_bash_completes(
    words: list[str], expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "complete").write_text(script("bash", capsys))
    program = f"""
        source {tmp_path}/complete
        COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}
        function=$(complete -p gan-lt | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        $function gan-lt "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
        echo "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout.split() == expected, result.stderr
