"""The one error that speaks to a person: bad input, said in one line."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from a person: a file, an option or a value that can't be used.

    The message is one line that says what is wrong, where (the file or the option), the value, and what
    to do about it. The command line prints it as it is and exits with status 2; nothing has been written.
    """
