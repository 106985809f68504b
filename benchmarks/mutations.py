"""Damaged inputs: valid samples changed byte by byte, or in the structure that their format has."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
_NUMBERS = (
    0,
    1,
    -1,
    2,
    7,
    255,
    2**31 - 1,
    2**31,
    2**63,
    -(2**63),
    10**30,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
)
_TEXTS = (
    "",
    "a",
    "../../x",
    "/etc/passwd",
    "\x00",
    "\n",
    "é" * 50,
    "9" * 5000,
    "digits",
    "\ud800",
    "1e400",
    "NaN",
)


def mutate_bytes(data: bytes, random: random.Random) -> bytes:
    """One to eight changes of bytes: set, flipped, removed, doubled, inserted, overwritten by numbers, cut off."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        if not changed:
            return bytes(random.randbytes(random.randrange(20)))
        at, kind = random.randrange(len(changed)), random.randrange(8)
        length = random.choice((1, 2, 4, 16, 100))
        if kind == 0:
            changed[at] = random.randrange(256)
        elif kind == 1:
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length] * random.choice((1, 1, 50))
        elif kind == 4:
            changed[at:at] = random.randbytes(length)
        elif kind == 5:
            number = random.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**16, 65535, 10**6))
            changed[at : at + 4] = struct.pack(random.choice("<>") + "I", number)
        elif kind == 6:
            changed[at] = random.choice(_INTERESTING)
        else:
            del changed[at:]
    return bytes(changed)


def mutate_json(data: bytes, random: random.Random) -> bytes:
    """One to three values of a JSON document replaced, removed, doubled or nested."""
    return write_json(mutate_document(json.loads(data), random), random)


def mutate_document(document: Any, random: random.Random) -> Any:
    """The same of the document itself."""
    for _ in range(random.choice((1, 1, 2, 3))):
        document = _mutate_node(document, random)
    return document


def write_json(document: Any, random: random.Random) -> bytes:
    """The document as text, once in a while in another encoding or too deep for a parser."""
    text = json.dumps(document)
    kind = random.randrange(40)
    if kind == 0:
        return text.encode("utf-16")
    if kind == 1:
        return ("[" * 20_000 + text + "]" * 20_000).encode()
    if kind == 2:
        return b"\xef\xbb\xbf" + text.encode()
    return text.encode()


def _mutate_node(node: Any, random: random.Random) -> Any:
    inner = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    if not inner or random.random() < 0.15:
        return _odd_value(node, random)
    key = random.choice(inner)
    changed = dict(node) if isinstance(node, dict) else list(node)
    kind = random.randrange(8)
    if kind == 0:
        del changed[key]
    elif kind == 1 and isinstance(changed, dict):
        changed[random.choice(_TEXTS)] = changed.pop(key)
    elif kind == 1 and isinstance(changed, list):
        changed.append(changed[key])
    else:
        changed[key] = _mutate_node(node[key], random)
    return changed


def _odd_value(node: Any, random: random.Random) -> Any:
    kind = random.randrange(7)
    if kind == 0:
        return random.choice((None, True, False))
    if kind in (1, 2):
        return random.choice(_NUMBERS)
    if kind == 3:
        return random.choice(_TEXTS)
    if kind == 4:
        return random.choice(([], {}, [node], {"a": node}, [[]], [node, node], {"": node}))
    if isinstance(node, int | float):
        return random.choice((-node, node + 1, node * 2, str(node), float(node)))
    return random.choice((str(node), [node] * 3, random.randrange(1000)))


def mutate_zip(data: bytes, random: random.Random) -> bytes:
    """A zip made again: an entry's name, bytes or compression changed, an entry left out or doubled."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    at, kind = random.randrange(len(entries)), random.randrange(6)
    name, content = entries[at]
    if kind == 0:
        odd = random.choice(("../", "/", "C:\\", "a/../../", "__MACOSX/", ".", "\x01", "x/" * 100))
        entries[at] = (odd + name, content)
    elif kind == 1:
        del entries[at]
    elif kind == 2:
        entries[at] = (
            name,
            mutate_json(content, random) if name.endswith(".json") else mutate_bytes(content, random),
        )
    elif kind == 3:
        entries[at] = (name, b"")
    elif kind == 4:
        entries.append((random.choice((name + "/", name + ".png", "new/0.png", "dataset.json")), content))
    else:
        entries[at] = (name, bytes(random.choice((100, 2**21))))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in entries:
            archive.writestr(name.replace("\ud800", "?"), content)
    made = buffer.getvalue()
    return mutate_bytes(made, random) if random.random() < 0.3 else made


def mutate_tar(data: bytes, random: random.Random) -> bytes:
    """A tar made again: a member's name, kind, size, bytes or order changed, one left out or doubled; or numbers in a header."""
    with tarfile.open(fileobj=io.BytesIO(data)) as shard:
        members = []
        for member in shard.getmembers():
            file = shard.extractfile(member)
            members.append((member, b"" if file is None else file.read()))
    at, kind = random.randrange(len(members)), random.randrange(7)
    member, content = members[at]
    if kind == 0:
        member.name = random.choice(("../", "/", "C:\\", "a/../../", ".", "\x01", "x/" * 600)) + member.name
    elif kind == 1:
        del members[at]
    elif kind == 2:
        content = (
            mutate_json(content, random) if member.name.endswith(".json") else mutate_bytes(content, random)
        )
        members[at] = (member, content)
    elif kind == 3:
        member.type = random.choice(b"1234567SxgLKZ").to_bytes()
        member.linkname = random.choice(("/etc/passwd", member.name))
    elif kind == 4:
        members.insert(random.randrange(len(members)), members[at])
    elif kind == 5:
        member.pax_headers = {
            random.choice(("path", "size", "GNU.sparse.name", "mtime")): random.choice(_TEXTS[:-3])
        }
    else:
        member.name = member.name.rpartition(".")[0] + random.choice(
            (".cls", ".json", ".npy", "", ".jpg", ".seg.png")
        )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=random.choice((1, 2))) as shard:
        for member, content in members:
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    made = bytearray(buffer.getvalue())
    if random.random() < 0.3:
        # a size that the data do not have, with a right sum
        number = random.choice(
            (b"\x80" + bytes(4) + b"\x7f" * 7, b"\xff" * 12, b"77777777777\0", b"-0000000001\0", b" " * 12)
        )
        made[124:136] = number
        made[148:156] = b" " * 8
        made[148:156] = b"%06o\0 " % sum(made[:512])
    return mutate_bytes(bytes(made), random) if random.random() < 0.3 else bytes(made)


def mutate_safetensors(data: bytes, random: random.Random) -> bytes:
    """The header's JSON changed (shapes, types, offsets, metadata), its length kept right or not; or bytes."""
    length = struct.unpack("<Q", data[:8])[0]
    if random.random() < 0.3:
        return mutate_bytes(data, random)
    header = mutate_json(data[8 : 8 + length], random)
    stated = len(header) if random.random() < 0.9 else random.choice((0, 2**63, len(header) + 1, 2**32))
    return struct.pack("<Q", stated) + header + data[8 + length :]


def either(*mutations: Mutation) -> Mutation:
    """One of the mutations, each as often."""
    return lambda data, random: random.choice(mutations)(data, random)
