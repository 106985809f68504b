"""Running compiler commands: a graph of them by ninja, or by threads where ninja is missing.

Imports nothing outside the standard library, as cuda_ops/build.py.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

COMPILE_SECONDS = 600


class BuildError(RuntimeError):
    """A native build that did not work, with a one-line reason."""


@dataclass(frozen=True)
class Step:
    """One command and the files it reads and makes: `inputs` that other steps make are made first."""

    output: Path
    inputs: tuple[Path, ...]
    command: tuple[str, ...]


def find_ninja() -> str | None:
    """ninja on the path, else the one that the package `ninja` brings; None if there is neither."""
    on_path = shutil.which("ninja")
    if on_path or importlib.util.find_spec("ninja") is None:
        return on_path
    import ninja

    return shutil.which("ninja", path=ninja.BIN_DIR)


def run_steps(steps: Sequence[Step], folder: Path) -> None:
    """Run a build: what does not depend on one another at once, as many as there are processors.

    Args:
        steps: in an order in which they could run one by one. folder: gets build.ninja and ninja's log.

    Raises:
        BuildError: a command failed; the message holds its first error.
    """
    ninja = find_ninja()
    if ninja is None:
        made = {step.output for step in steps}
        first = [step for step in steps if not made.intersection(step.inputs)]
        run_commands([step.command for step in first])
        for step in steps:
            if step not in first:
                run_commands([step.command])
        return
    (folder / "build.ninja").write_text(ninja_file(steps), encoding="utf-8")
    command = [ninja, "-C", str(folder), "--quiet", "-j", str(os.cpu_count() or 1)]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=COMPILE_SECONDS * max(1, len(steps)), check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"ninja: {error}") from error
    if result.returncode:
        commands = {shlex.join(step.command) for step in steps}
        output = [line for line in (result.stdout + result.stderr).splitlines() if line not in commands]
        failed = [line.removeprefix("FAILED: ").strip() for line in output if line.startswith("FAILED: ")]
        reason = _first_error([line for line in output if not line.startswith(("FAILED: ", "ninja: "))])
        raise BuildError(
            f"{Path(failed[0]).name if failed else 'ninja'}: {reason or (output or [f'exit status {result.returncode}'])[-1]}"
        )


def ninja_file(steps: Sequence[Step]) -> str:
    """The text of a build.ninja that runs the steps."""
    lines = ["rule run", "  command = $cmd"]
    for step in steps:
        inputs = "".join(f" {_path(path)}" for path in step.inputs)
        lines += [f"build {_path(step.output)}: run{inputs}"]
        lines += [f"  cmd = {shlex.join(step.command).replace('$', '$$')}"]
    return "\n".join(lines) + "\n"


def run_commands(commands: Sequence[Sequence[str]]) -> None:
    """Run independent compiler commands at once, as many as there are processors.

    Raises:
        BuildError: one failed; the message holds its first error.
    """

    def run(command: Sequence[str]) -> None:
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildError(f"{command[0]}: {error}") from error
        if result.returncode:
            reason = _first_error((result.stderr or result.stdout).splitlines())
            raise BuildError(f"{' '.join(command)}: {reason or f'exit status {result.returncode}'}")

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(run, commands))


def _first_error(output: Sequence[str]) -> str | None:
    lines = [line for line in output if line.strip()]
    return next((line for line in lines if "error" in line), lines[0] if lines else None)


def _path(path: Path) -> str:
    return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")
