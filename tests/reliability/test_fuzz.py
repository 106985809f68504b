"""Damaged files of every kind: one line of InputError, or read; nothing else, and always the same inputs."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import fuzz as fuzzing
from benchmarks.fuzz import READERS, damaged, fuzz
from benchmarks.readers import Reader, readers
from gan_lt.errors import InputError


@pytest.fixture(scope="module")
def all_readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return readers(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_refused_in_one_line(name: str, all_readers: dict[str, Reader]) -> None:
    reader = all_readers[name]
    for sample in reader.samples:
        if name != "pickle":  # of parts of a network
            reader.read(sample)
    found = fuzz(reader, name, range(250), seed=1)
    assert found["faults"] == {}
    assert found["refused"] >= 20


def test_faults_are_found() -> None:
    def fragile(data: bytes) -> object:
        if data == b"refused":
            raise InputError("no")
        if data == b"deep":
            raise RecursionError("deep")
        return data

    for sample, fault in ((b"refused", 0), (b"deep", 3), (b"good", 0)):
        found = fuzz(Reader(fragile, (sample,), lambda data, random: data), "fragile", range(3), seed=0)
        assert sum(found["faults"].values()) == fault


def test_a_process_that_ends_keeps_what_it_had_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(data: bytes) -> object:
        if data == b"crash":
            os._exit(3)
        if data == b"refused":
            raise InputError("no")
        if data == b"deep":
            raise RecursionError("deep")
        return data

    def choose(_: bytes, chance: random.Random) -> bytes:
        return chance.choice([b"crash", b"deep"] + 4 * [b"refused", b"good"])

    reader = Reader(fragile, (b"",), choose)

    def fragile_alone(_: Path) -> dict[str, Reader]:
        return {"fragile": reader}

    monkeypatch.setattr(fuzzing, "readers", fragile_alone)
    outcomes = Counter(damaged(reader, "fragile", number, 0) for number in range(60))
    assert min(outcomes[b"crash"], outcomes[b"deep"]) >= 2
    found = fuzzing.fuzz_in_child("fragile", 60, seed=0)
    assert found["inputs"] == 60
    assert (found["accepted"], found["refused"]) == (outcomes[b"good"], outcomes[b"refused"])
    assert found["unexpected"] == sum(found["faults"].values()) == outcomes[b"crash"] + outcomes[b"deep"]
    assert sum("ended with 3" in fault for fault in found["faults"]) == outcomes[b"crash"]
