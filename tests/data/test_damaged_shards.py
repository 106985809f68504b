"""Hostile and torn shards are refused by name; members are those that tarfile finds."""

from __future__ import annotations

import os
import posixpath
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gan_lt.data import open_image_set
from gan_lt.data.tar_members import TarMembers
from gan_lt.errors import InputError
from tests.data.refusals import refused
from tests.data.shard_files import LEGIBLE, Files, labelled, png, write_shard

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def one(**files: bytes) -> Path:
        return write_shard(tmp_path / "set.tar", {f"a.{kind}": data for kind, data in files.items()})

    refused(one(png=png(0), cls=b"cat"), "a.cls", "b'cat'", "not a class index")
    refused(one(png=png(0), cls=b"-1"), "a.cls", "not a class index")
    refused(one(png=png(0), cls=b"1" * 5000), "a.cls", "5000 bytes")
    refused(one(png=png(0), json=b'{"label": 1.5}'), "a.json", "label 1.5")
    refused(one(png=png(0), json=b"[" * 100_000), "a.json is not JSON")
    refused(one(png=png(0), json=b"{}"), "no labelled images", ".cls", "folder")
    refused(one(png=png(0)), "no labelled images")
    refused(one(txt=b"x"), "hold no images")
    both = {**labelled(3), "x.png": png(9)}
    refused(write_shard(tmp_path / "set.tar", both), "1 images have no label", "set.tar/x.png", "KEY.cls")
    twice = [*labelled(2).items(), ("000000.png", png(0))]
    refused(write_shard(tmp_path / "set.tar", twice), "'000000.png' is there twice")
    apart = [("a.png", png(0)), ("b.png", png(0)), ("a.cls", b"0"), ("b.cls", b"0")]
    refused(write_shard(tmp_path / "set.tar", apart), "side by side")


def test_sizes_and_corrupt_images_speak_as_for_zips(tmp_path: Path) -> None:
    files = {**labelled(2), "x.png": png(0, (16, 16)), "x.cls": b"1"}
    refused(
        write_shard(tmp_path / "a.tar", files), "a.tar/000000.png is 8x8", "x.png is 16x16", "--resolution N"
    )
    files["x.png"] = png(0)[:60]
    path = write_shard(tmp_path / "a.tar", files)
    refused(path, "image a.tar/x.png is corrupt", "--skip-corrupt")
    assert open_image_set(path, skip_corrupt=True).skipped == ("a.tar/x.png",)


def test_torn_shards_are_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_shard(folder / "0.tar", labelled(3))
    whole = write_shard(folder / "1.tar", labelled(3)).read_bytes()
    end = len(whole.rstrip(b"\0"))
    for length in (513, 700, 1024, end - 3, -(-end // 512) * 512):  # the last lacks the end mark alone
        (folder / "1.tar").write_bytes(whole[:length])
        refused(folder, "shard 1.tar is cut short", "download it again")
    for damaged, words in (
        (b"", "not a tar"),
        (b"x" * 5000, "not a tar"),
        (b"\x1f\x8b" + bytes(range(1, 255)) * 10, "gunzip"),
        (whole[:1024] + b"x" * 512 + whole[1536:], "header at byte 1024"),
    ):
        (folder / "1.tar").write_bytes(damaged)
        refused(folder, "shard 1.tar", words)


def test_compressed_shards_in_a_folder_are_named(tmp_path: Path) -> None:
    """Beside others they would be left out in silence."""
    write_shard(tmp_path / "set" / "0.tar", labelled(3))
    (tmp_path / "set" / "1.tar.gz").write_bytes(b"\x1f\x8b" + bytes(range(1, 255)) * 10)
    refused(tmp_path / "set", "shard 1.tar.gz", "gunzip")


def test_folders_that_tell_a_size_have_no_data(tmp_path: Path) -> None:
    """POSIX lets them tell how much room they have."""
    folder = tarfile.TarInfo("a")
    folder.type, folder.size = tarfile.DIRTYPE, 4096
    path = write_shard(tmp_path / "a.tar", {"a/0.png": png(0), "b/0.png": png(1)})
    path.write_bytes(folder.tobuf(tarfile.USTAR_FORMAT) + path.read_bytes())
    assert open_image_set(path).ids == ("a.tar/a/0.png", "a.tar/b/0.png")


def test_tars_joined_end_to_end_are_refused(tmp_path: Path) -> None:
    whole = write_shard(tmp_path / "a.tar", labelled(2)).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole + bytes(2**14))
    assert len(open_image_set(tmp_path / "a.tar")) == 2
    (tmp_path / "a.tar").write_bytes(whole * 2)
    refused(tmp_path / "a.tar", "shard a.tar goes on behind its end mark", "give both")
    for zeros in (2**16 + 512, 2**21 + 1024):
        (tmp_path / "a.tar").write_bytes(whole + bytes(zeros) + whole)
        refused(tmp_path / "a.tar", "shard a.tar goes on behind its end mark", "give both")


def test_a_long_tail_of_zeros_is_looked_through_quickly(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", labelled(2))
    os.truncate(path, 2**29)  # a file system keeps no room for them
    begin = time.process_time()
    assert len(open_image_set(path)) == 2
    assert time.process_time() - begin < 5


def test_images_beside_class_folders_are_named(tmp_path: Path) -> None:
    """They have no label; left out in silence, they would be missed."""
    files = {"a/0.png": png(0), "b/0.png": png(1), "stray.png": png(2), "other.png": png(3)}
    refused(
        write_shard(tmp_path / "a.tar", files),
        "2 images have no label",
        "a.tar/stray.png",
        "a folder a class",
    )


@pytest.mark.parametrize("name", [*LEGIBLE, "././b//0.png"])
def test_names_with_blanks_and_emoji_and_odd_spellings(tmp_path: Path, name: str) -> None:
    path = write_shard(tmp_path / "a.tar", {f"a/{name}": png(0), "b/1.png": png(1)}, tarfile.PAX_FORMAT)
    assert set(open_image_set(path).ids) == {f"a.tar/{posixpath.normpath('a/' + name)}", "a.tar/b/1.png"}


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    for kind, words in (
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a named pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
    ):
        member = tarfile.TarInfo("link.png")
        member.type, member.linkname = kind, "/etc/passwd"
        with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as shard:
            shard.addfile(member)
        refused(tmp_path / "a.tar", "'link.png'", words, "plain files")
    for name in ("../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png", "C:/x.png"):
        refused(write_shard(tmp_path / "a.tar", {name: b"x"}), "outside the shard")
    for name in ("\n.png", "\x01.png", "\u2028.png", "\u202egnp.png", "x" * 1100 + ".png"):
        refused(write_shard(tmp_path / "a.tar", {name: b"x"}, tarfile.PAX_FORMAT), "shard a.tar", "printed")


@settings(deadline=None, max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    form=st.sampled_from(FORMATS),
    edits=st.lists(
        st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4
    ),
    length=st.integers(0, 8000),
    right_sum=st.booleans(),
)
def test_damaged_shards_raise_nothing_but_input_errors(
    form: int,
    edits: list[tuple[int, bytes]],
    length: int,
    right_sum: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = write_shard(tmp_path_factory.mktemp("tar") / "a.tar", labelled(2), form)
    data = bytearray(path.read_bytes())
    for at, change in edits:
        data[at : at + len(change)] = change
    if right_sum:  # so that the other fields are looked at
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data[:length] if length < 5000 else data)
    message = ""
    try:
        open_image_set(path)
    except InputError as error:
        message = str(error)
    assert "\n" not in message


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    files=st.dictionaries(
        st.text(st.characters(categories=("L", "N")), min_size=1, max_size=150).map(
            lambda name: f"a/{name}.png"
        ),
        st.binary(max_size=1500),
        max_size=12,
    ),
    form=st.sampled_from((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
)
def test_members_are_those_that_tarfile_finds(
    files: Files, form: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_shard(tmp_path_factory.mktemp("tar") / "a.tar", files, form)
    with tarfile.open(path) as shard:
        expected = [(member.name, member.offset_data, member.size) for member in shard.getmembers()]
    with open(path, "rb", buffering=0) as file:
        found = list(TarMembers(file, "a"))
    assert found == expected
    data = path.read_bytes()
    assert {name: data[offset : offset + size] for name, offset, size in found} == files
