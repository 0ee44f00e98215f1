"""Standard output and error as they are: what their encoding lacks is shown in ASCII, and a full disk is said so."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from fedsam.errors import RunError

ERRORS = "fedsam.ascii"
"""Name of the error handler for encoders."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""What a file says that takes no more."""

SIGNS = {
    **{"±": "+/-", "×": "x", "÷": "/", "−": "-", "·": ".", "√": "sqrt", "∞": "inf", "∇": "grad ", "∑": "sum"},
    **{"≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "←": "<-", "→": "->", "↑": "^", "↓": "v", "‖": "||", "½": "1/2"},
    **{"⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "⟨": "<", "⟩": ">", "⊥": "_|_", "ℓ": "l", "…": "..."},
    **{"–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "•": "*", "\xa0": " "},
}


def fit() -> None:
    """Let standard output and error write any text, whatever their encoding; what they can show stays as it is."""
    codecs.register_error(ERRORS, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors not in ("replace", "ignore"):
            stream.reconfigure(errors=ERRORS)


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    letter = error.object[error.start]
    if "\udc80" <= letter <= "\udcff":  # a byte of a file's name that is no text
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    return plain(letter), error.start + 1


def plain(letter: str) -> str:
    """What stands for a letter in ASCII: signs like ±, Greek by name, digits raised or lowered as they are, lines of
    tables; any other by its number.
    """
    name, kind = unicodedata.name(letter, ""), unicodedata.category(letter)
    if letter in SIGNS:
        return SIGNS[letter]
    if name.startswith("GREEK") and "LETTER" in name:
        spelt = name.split(" LETTER ")[1].split()[0].replace("LAMDA", "LAMBDA")
        return spelt.lower() if kind == "Ll" else spelt.capitalize()
    if name.startswith("BOX DRAWINGS"):
        return "-" if name.endswith("HORIZONTAL") else "|" if name.endswith("VERTICAL") else "+"
    if name.startswith(("FULL BLOCK", "LEFT ", "UPPER HALF", "LOWER")):
        return "#"
    if kind == "Mn":  # what stands over a letter
        return ""
    like = unicodedata.normalize("NFKD", letter) if kind in ("No", "Lm") else letter
    return like.replace("−", "-").encode("ascii", "backslashreplace").decode()


@contextmanager
def written() -> Iterator[None]:
    """See to it that what is printed inside has gone out at the end.

    Raises:
        RunError: standard output cannot take it.
        BrokenPipeError: nobody reads it any more.
    """
    try:
        yield
        _flush()
    except SystemExit:
        _flush()
        raise
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            _flush("\n")  # a write that fails leaves nothing behind to try again
        raise


def _flush(more: str = "") -> None:
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(more)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _give_up()
        reason = error.strerror or str(error)
        told = f"standard output cannot be written: {reason}; files that were written are complete"
        raise RunError(told) from error


def _give_up() -> None:
    """Send what is still to come nowhere, or the interpreter would try it once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
