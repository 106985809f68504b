"""Damaged files of every kind: one line of InputError, or read; nothing else, and always the same inputs."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import READERS, fuzz
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
