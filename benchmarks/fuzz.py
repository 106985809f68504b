"""Damaged input never does harm: `python -m benchmarks.fuzz [--inputs 10000] [--reader NAME] [--seed N] [--json FILE]`.

Every reader of files is given so many damaged ones, made from valid samples. It may read one, or raise InputError with
one line; anything else is a fault and printed with its number, by which it can be made again. Readers run in a process
of their own whose memory may grow by 3 GiB; an input that takes longer than 20 s is a fault, too. Status 1 with any fault.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.digits_judge import cpu_name
from benchmarks.readers import Reader, readers
from eval.atomic_file import write_text
from eval.versions import versions
from gan_lt.errors import InputError

MEMORY_BYTES = 3 << 30
SECONDS = 20.0
READERS = (
    "image",
    "zip",
    "shard",
    "list",
    "annotations",
    "dataset.json",
    "manifest",
    "config",
    "checkpoint",
    "network config",
    "network weights",
    "counts",
    "pickle",
    "stats",
)


def main() -> int:
    """Fuzz the readers that were asked for; print a line for each, and write them with --json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--inputs", type=int, default=10_000, metavar="N", help="damaged inputs a reader (10000)"
    )
    parser.add_argument("--reader", choices=READERS, help="this reader alone")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is damaged (0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results, beside other readers'")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for name in READERS:
        if options.reader in (None, name):
            found[name] = fuzz_in_child(name, options.inputs, options.seed)
            print(f"{name}: {json.dumps(found[name])}", flush=True)
            if options.json is not None:
                _write(options.json, options.seed, found)
    return int(any(result["unexpected"] for result in found.values()))


def _write(file: Path, seed: int, found: dict[str, Any]) -> None:
    """The results so far; those of other readers with the same seed, which the file has already, stay."""
    machine = {"cpu": cpu_name(), "system": platform.platform(), **versions()}
    earlier = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    if (earlier.get("machine"), earlier.get("seed")) == (machine, seed):
        found = {**earlier["readers"], **found}
    ordered = {name: found[name] for name in READERS if name in found}
    write_text(file, json.dumps({"machine": machine, "seed": seed, "readers": ordered}, indent=1) + "\n")


def fuzz_in_child(name: str, inputs: int, seed: int) -> dict[str, Any]:
    """`fuzz` in a process with bounded memory; one that dies or hangs is a fault, and the next goes on behind it."""
    total: dict[str, Any] = {
        "inputs": 0,
        "accepted": 0,
        "refused": 0,
        "unexpected": 0,
        "faults": {},
        "grown_mib": 0,
        "peak_mib": 0,
        "longest_s": 0.0,
    }
    start = 0
    while start < inputs:
        with tempfile.TemporaryDirectory() as folder:
            progress, result = Path(folder) / "at", Path(folder) / "result"
            pid = os.fork()
            if pid == 0:
                _child(name, start, inputs, seed, Path(folder), progress, result)
            status = _wait(pid, progress)
            part = json.loads(result.read_text()) if result.exists() else _until(progress, start, status)
        start += part["inputs"]
        for key, value in part.items():
            if key == "faults":
                total["faults"] = dict(Counter(total["faults"]) + Counter(value))
            elif key in ("grown_mib", "peak_mib", "longest_s"):
                total[key] = max(total[key], value)
            else:
                total[key] += value
    return total


def _until(progress: Path, start: int, status: str) -> dict[str, Any]:
    """What a process had found before the input that ended it, which is a fault."""
    last = json.loads(progress.read_text()) if progress.exists() else {"number": start, "found": {}}
    found: dict[str, Any] = {"inputs": 0, "unexpected": 0, "faults": {}, **last["found"]}
    found["inputs"] += 1
    found["unexpected"] += 1
    found["faults"][f"input {last['number']}: {status}"] = 1
    return found


def _wait(pid: int, progress: Path) -> str:
    """How the process ended: by itself, by a signal, or by us, when an input took too long.

    Its own computing time decides, so that a busy machine is no fault; one that waits for something is given longer.
    """
    at, computed, since = None, 0.0, time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return f"the process ended with {os.waitstatus_to_exitcode(status)}"
        now = progress.read_text() if progress.exists() else ""
        if now != at:
            at, computed, since = now, _computing(pid), time.monotonic()
        if _computing(pid) - computed > SECONDS + 10 or time.monotonic() - since > 15 * SECONDS:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return f"longer than {SECONDS:.0f} s"
        time.sleep(0.05)


def _computing(pid: int) -> float:
    """Seconds of computing time of a process (fields 14 and 15 of /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _child(name: str, start: int, inputs: int, seed: int, place: Path, progress: Path, result: Path) -> None:
    status = 1
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        reader = readers(place)[name]
        part = fuzz(reader, name, range(start, inputs), seed, progress)
        result.write_text(json.dumps(part))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def fuzz(
    reader: Reader, name: str, numbers: range, seed: int, progress: Path | None = None
) -> dict[str, Any]:
    """Read damaged inputs; `faults` counts what came out other than a result or one line of InputError, by what it was."""
    faults: Counter[str] = Counter()
    accepted = refused = 0
    longest = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def found(inputs: int) -> dict[str, Any]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "inputs": inputs,
            "accepted": accepted,
            "refused": refused,
            "unexpected": faults.total(),
            "faults": dict(faults),
            "grown_mib": round((peak - before) / 1024),
            "peak_mib": round(peak / 1024),
            "longest_s": round(longest, 3),
        }

    for done, number in enumerate(numbers):
        data = damaged(reader, name, number, seed)
        if progress is not None:
            # should this input end the process, this is what is known of those before it
            progress.write_text(json.dumps({"number": number, "found": found(done)}))
        begin = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(data)
            accepted += 1
        except InputError as error:
            refused += 1
            if "\n" in str(error) or len(str(error)) > 2000:
                faults[f"a message of several lines or over 2,000 letters, as of input {number}"] += 1
        except Exception as error:
            _count(faults, error, number)
        longest = max(longest, time.process_time() - begin)
        if time.process_time() - begin > SECONDS:
            faults[f"input {number}: longer than {SECONDS:.0f} s"] += 1
    return found(len(numbers))


def _count(faults: Counter[str], error: Exception, number: int) -> None:
    """One fault a kind and place, with the number of the first input that made it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        f"{Path(f.filename).name}:{f.lineno}"
        for f in frames
        if "gan_lt/" in f.filename or "eval/" in f.filename
    ]
    kind = f"{type(error).__name__} in {ours[-1] if ours else frames[-1].filename}"
    known = next((key for key in faults if key.startswith(kind)), None)
    faults[known or f"{kind}, first input {number}: {str(error)[:80]}"] += 1


def damaged(reader: Reader, name: str, number: int, seed: int) -> bytes:
    """Damaged input `number` of a reader; always the same."""
    chance = random.Random(f"{seed} {name} {number}")  # noqa: S311 - no secret
    return reader.mutate(chance.choice(reader.samples), chance)


if __name__ == "__main__":
    sys.exit(main())
