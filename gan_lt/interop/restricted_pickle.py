"""Reads a StyleGAN2-ADA .pkl without running anything in it: only tensors and plain containers come out.

A pickle is a program that names the functions it calls. Here every name it may use is on a short list, and what
stands behind a name is this module's own: an object that checks its arguments and builds a tensor, a dictionary or
a record. Anything else stops the reading before it is called.
"""

from __future__ import annotations

import io
import math
import pickle  # only its opcode machine, with every global replaced; never pickle.load
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_lt.errors import InputError

MAX_FILE_BYTES = 4 << 30
MAX_OPCODES = 5_000_000
_PYTHON_2_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # as protocols 0 to 2 write them
_SCALAR_DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class _RefusedError(Exception):
    """What the file asks for is not allowed; the message says what."""


class _Frozen(type):
    """A class that a pickle's BUILD opcode can't write to."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise _RefusedError(f"it sets {name!r} on a class")


class ModuleRecord(metaclass=_Frozen):
    """What the file says of one module: class name, module source (text, never run) and the module's attributes."""

    __slots__ = ("class_name", "source", "state")

    def __init__(self) -> None:
        self.class_name = ""
        self.source = ""
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise _RefusedError(f"the attributes of a module are a {type(state).__name__}, not a dict")
        self.state = state


class PlainDict(dict[str, Any], metaclass=_Frozen):
    """Stands for dnnlib.util.EasyDict."""

    __slots__ = ()


class _Call:
    """One permitted function of the file. It has no attributes that the file could change."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: object) -> None:
        raise _RefusedError(f"it sets {name!r} on a function")

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class _NumpyDtype(metaclass=_Frozen):
    """Stands for numpy.dtype in numpy scalars."""

    __slots__ = ("name",)

    def __init__(self, name: object, *_: object) -> None:
        if name not in _SCALAR_DTYPES:
            raise _RefusedError(f"numpy dtype {name!r} is not a number's")
        self.name = str(name)

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            raise _RefusedError("a numpy scalar is big-endian")


def _persistent_object(meta: object) -> ModuleRecord:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise _RefusedError("a persistent object has no state")
    if meta.get("type", "class") != "class":
        raise _RefusedError(f"a persistent object has the unknown type {meta['type']!r}")
    record = ModuleRecord()
    record.class_name, record.source = str(meta.get("class_name", "")), str(meta.get("module_src", ""))
    record.state = meta["state"]
    return record


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> Tensor:
    if not isinstance(storage, torch.TypedStorage):
        raise _RefusedError("a tensor's storage is not one")
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise _RefusedError("a tensor's size and stride don't match")
    numbers = (offset, *size, *stride)
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
        raise _RefusedError("a tensor's offset, size or stride is not a small whole number")
    last = int(numbers[0]) + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    elements = math.prod(size)
    available = storage._untyped_storage.nbytes() // storage.dtype.itemsize
    if elements and (last >= available or elements > available):
        raise _RefusedError(f"a tensor of size {list(size)} does not fit its {available} stored numbers")
    flat = torch.empty(0, dtype=storage.dtype)
    return flat.set_(storage._untyped_storage, numbers[0], size, stride)


def _parameter(data: object, *_: object) -> Tensor:
    if not isinstance(data, Tensor):
        raise _RefusedError("a parameter holds no tensor")
    return data


def _numpy_scalar(dtype: object, data: object) -> object:
    if not isinstance(dtype, _NumpyDtype) or not isinstance(data, bytes):
        raise _RefusedError("a numpy scalar is malformed")
    kind = np.dtype(dtype.name)
    if len(data) != kind.itemsize:
        raise _RefusedError(f"a numpy scalar has {len(data)} bytes for {dtype.name}")
    return np.frombuffer(data, kind)[0].item()


def _latin1(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError(f"bytes are encoded as {encoding!r}")
    return text.encode("latin1")


def _device_name(*arguments: object) -> str:
    return ":".join(str(part) for part in arguments)


def _size(values: object = ()) -> tuple[Any, ...]:
    if not isinstance(values, (tuple, list)):
        raise _RefusedError("a torch.Size is not made of numbers")
    return tuple(values)


def _plain_container(cls: object, base: object = dict, state: object = None) -> object:
    """copyreg._reconstructor, as protocols 0 and 1 write instances of the classes below."""
    if cls not in (PlainDict, ModuleRecord) or not isinstance(cls, type):
        raise _RefusedError(f"it makes an instance of {getattr(cls, '__name__', cls)}")
    instance = cls()
    if isinstance(instance, PlainDict) and isinstance(state, dict):
        instance.update(state)
    return instance


# Classes of which nothing can be changed, and this module's own stand-ins. Keys: module, name.
_PERMITTED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "dict"): dict,
    ("builtins", "object"): object,
    ("copyreg", "_reconstructor"): _Call(_plain_container),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
    ("torch.nn.parameter", "Parameter"): _Call(_parameter),
    ("torch", "Size"): _Call(_size),
    ("torch", "device"): _Call(_device_name),
    ("numpy", "dtype"): _NumpyDtype,
    ("numpy.core.multiarray", "scalar"): _Call(_numpy_scalar),
    ("numpy._core.multiarray", "scalar"): _Call(_numpy_scalar),
    ("_codecs", "encode"): _Call(_latin1),
}


class _RestrictedUnpickler(pickle.Unpickler):  # noqa: TID251  every global replaced
    """The opcode machine of pickle with every global replaced by a stand-in or refused."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        # a storage is as large as the bytes it is read from, so all of them fit the file's own size,
        # unless the file asks for the same bytes again and again
        self._storage_budget = len(data)

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a global; refused by name when there is none. Nothing is imported."""
        module = _PYTHON_2_NAMES.get(module, module)
        if (module, name) in _PERMITTED:
            return _PERMITTED[module, name]
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _Call(self._storage)
        # vendored copies keep these names below another package
        if name == "_reconstruct_persistent_obj" and f".{module}".endswith(".torch_utils.persistence"):
            return _Call(_persistent_object)
        if name == "EasyDict" and f".{module}".endswith((".dnnlib.util", ".dnnlib")):
            return PlainDict
        if module.startswith("torch.nn.modules."):
            return ModuleRecord
        if module == "torch" and isinstance(dtype := vars(torch).get(name), torch.dtype):
            return dtype
        raise _RefusedError(f"it asks for {module}.{name}, which no network needs; nothing of it was run")

    def persistent_load(self, pid: object) -> Any:
        """Networks in this format refer to nothing outside the file."""
        raise _RefusedError("it refers to objects outside the file")

    def _storage(self, data: object) -> torch.TypedStorage:
        if not isinstance(data, bytes):
            raise _RefusedError("a tensor's storage is not bytes")
        self._storage_budget -= len(data)
        if self._storage_budget < 0:
            raise _RefusedError("it reads the same numbers again and again")
        storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)  # noqa: TID251  tensors only
        if not isinstance(storage, torch.TypedStorage):
            raise _RefusedError(f"a tensor's storage holds a {type(storage).__name__}")
        return storage


def _check_opcodes(data: bytes) -> None:
    """A dry reading of the opcodes: the file is complete, and not built to fill the memory."""
    count = 0
    for opcode, argument, _ in pickletools.genops(data):
        count += 1
        if count > MAX_OPCODES or (opcode.name.endswith("PUT") and int(str(argument)) > MAX_OPCODES):
            raise _RefusedError(f"it has more than {MAX_OPCODES} steps")


def read_restricted_pickle(data: bytes, where: str) -> object:
    """What a pickle holds: tensors, numbers, text, containers, and a `ModuleRecord` for each module.

    Args:
        data: the file's content.
        where: its name, for messages.

    Raises:
        InputError: not a pickle, truncated, damaged, or asking for a global that is not on the list; the message
            names the global, and nothing of it has been run.
    """
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{where}: {len(data)} bytes are more than a network has ({MAX_FILE_BYTES} at most)")
    try:
        _check_opcodes(data)
        return _RestrictedUnpickler(data).load()
    except _RefusedError as error:
        raise InputError(f"{where}: refused, because {error}; import only networks you trust") from error
    except Exception as error:  # damaged bytes can make the opcode machine and torch raise anything at all
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{where}: not a complete StyleGAN2-ADA pickle ({reason}); download or copy the file again"
        ) from error
