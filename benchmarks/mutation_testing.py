"""Do the tests notice small faults? `python -m benchmarks.mutation_testing [--sample 400] [--seed 0] [--json FILE]`.

mutmut (its section in pyproject.toml) makes every small fault it knows in gan_lt/regularizers and in the metrics of eval/, one
at a time, and runs the tests that reach it: a fault that none of them notices has survived. Of all mutants --sample are
drawn with --seed, 0 for all of them. Prints a line for each file; `mutmut show NAME` shows a survivor.

Results are kept in mutants/ and used again; remove that folder after changing code or tests.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.digits_judge import cpu_name
from eval.atomic_file import write_text

MUTANTS = Path("mutants")
_NOTICED = (1, 3, 24, -24, 36, 152, 255)  # a failed test, or a mutant that never ends
_NO_TEST = (5, 33)


def main() -> int:
    """Make the mutants, test those that are drawn, print a line for each file; status 1 where mutmut fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=400, metavar="N", help="mutants, 0: all (400)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (0)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), metavar="N", help="at a time (cores)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures, and the survivors' names"
    )
    options = parser.parse_args()
    # the few of the interface: all mutants are made on the way
    if not MUTANTS.is_dir() and (status := mutmut(["gan_lt.regularizers.term.*"], options.processes)):
        return status
    found = results()
    names = sorted(found)
    draw = random.Random(options.seed)  # noqa: S311  a sample, no secret
    drawn = sorted(draw.sample(names, min(options.sample, len(names)))) if options.sample else names
    # more than once: mutmut forgets what it knew of a function that has changed, also of mutants not asked for
    asked: list[str] = []
    while missing := [name for name in drawn if found[name] is None]:
        if missing == asked:
            print(f"mutmut gives no result for {', '.join(missing)}", file=sys.stderr)
            return 1
        if status := mutmut(missing, options.processes):
            return status
        asked, found = missing, results()
    figures = tabulate({name: found[name] for name in drawn})
    show(figures, total=len(names))
    if options.json is not None:
        survivors = [name for name in drawn if found[name] not in _NOTICED]
        machine = {"cpu": cpu_name(), "python": platform.python_version()}
        document = {"machine": machine, "seed": options.seed, "mutants": len(names), "drawn": len(drawn)}
        write_text(
            options.json, json.dumps({**document, "files": figures, "survivors": survivors}, indent=1) + "\n"
        )
    return 0


def mutmut(names: list[str], processes: int) -> int:
    """Run these mutants; the exit status."""
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(processes), *names]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        print(done.stdout[-2000:], file=sys.stderr)
    return done.returncode


def results() -> dict[str, int | None]:
    """Every mutant's name, with the exit status of its tests, None where they have not run."""
    found: dict[str, int | None] = {}
    for file in sorted(MUTANTS.rglob("*.py.meta")):
        found |= json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def tabulate(found: dict[str, int | None]) -> dict[str, dict[str, Any]]:
    """For each file the mutants that were drawn, that the tests noticed, that survived, and that no test reaches."""
    counts: dict[str, Counter[str]] = {}
    for name, status in found.items():
        kind = "noticed" if status in _NOTICED else "no test" if status in _NO_TEST else "survived"
        counts.setdefault(name.rpartition(".")[0], Counter())[kind] += 1
    return {
        file: {
            "drawn": c.total(),
            "noticed": c["noticed"],
            "survived": c["survived"],
            "no test": c["no test"],
        }
        for file, c in sorted(counts.items())
    }


def show(figures: dict[str, dict[str, Any]], total: int) -> None:
    """The table, and the score of all."""
    print(f"{'':36} drawn  noticed  survived  no test  score")
    sums = {
        key: sum(row[key] for row in figures.values()) for key in ("drawn", "noticed", "survived", "no test")
    }
    for file, row in [*figures.items(), (f"all, drawn from {total}", sums)]:
        score = row["noticed"] / row["drawn"]
        print(
            f"{file:36} {row['drawn']:5}  {row['noticed']:7}  {row['survived']:8}  {row['no test']:7}  {score:5.0%}"
        )


if __name__ == "__main__":
    sys.exit(main())
