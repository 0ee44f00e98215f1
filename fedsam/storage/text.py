"""Text files are UTF-8, whatever the locale says."""

from __future__ import annotations

import codecs
import stat
from pathlib import Path

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
SAVE = "save the file as UTF-8"


def read_text(path: Path) -> str:
    """The text of a file, without the mark that some editors begin UTF-8 with.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no file, or not UTF-8; the message says where.
    """
    must_be_file(path)
    return decoded(path.read_bytes())


def must_be_file(path: Path) -> None:
    """Refuse what would be waited for, such as a named pipe, before it is opened.

    Raises:
        OSError: there is nothing, or a link that leads nowhere.
        ValueError: it is no file.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"it is {kind_of(mode)}, not a file")


def kind_of(mode: int) -> str:
    """What there is of such a mode, in words."""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def decoded(content: bytes) -> str:
    """Bytes as text.

    Raises:
        ValueError: they are not UTF-8; the message says where.
    """
    if content.startswith(UTF_16) or b"\0" in content[:4]:
        raise ValueError(f"its text is UTF-16 or UTF-32; {SAVE}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]  # without the mark
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        wrong = f"byte 0x{error.object[error.start]:02x} in line {line}, column {column} is not UTF-8"
        raise ValueError(f"{wrong}; {SAVE}") from None


def encoded(text: str) -> bytes:
    """Text as UTF-8; what it holds of a file's name that the locale could not read is what the name's bytes say."""
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, which no file's name is read as
        content = text.encode("utf-8", "backslashreplace")
    return content.decode("utf-8", "replace").encode()
