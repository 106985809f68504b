"""The one error that speaks to a person: bad input, said in one line."""

from __future__ import annotations

_LONGEST = 2000  # letters


class InputError(ValueError):
    """Bad input from a person: a file, an option or a value that can't be used.

    The message is one line that says what is wrong, where (the file or the option), the value, and what
    to do about it. The command line prints it as it is and exits with status 2; nothing has been written.
    Line breaks, which names and libraries' messages may hold, become spaces; of a very long one the ends are kept.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())
        super().__init__(
            line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 4 :]}"
        )


_NO_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "bad_alloc",  # C++'s own, which torch hands on as a RuntimeError
    "ALLOC_FAILED",  # cuBLAS, cuDNN 8
    "ALLOCATION_FAILED",  # cuDNN 9
)


def lacks_memory(error: BaseException) -> bool:
    """Whether an error of Python, torch or a CUDA library says that there was no memory."""
    # torch.OutOfMemoryError is a RuntimeError with one of these texts; torch itself need not be imported here
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)
    )


class LostProcessError(InputError):
    """Another process of the run is gone; what it said is the reason."""
