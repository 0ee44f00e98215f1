"""What can go wrong at the border: each error is one line that says what was wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LONGEST = 1000  # letters of what is at fault, which may be the path of a file


class FedsamError(Exception):
    """Something that a user can act on; the command line prints its message and no traceback."""

    exit_status = 1


class InputError(FedsamError, ValueError):
    """A key, a value, a combination or a file that cannot be used (exit status 2).

    Args:
        key: the dotted key at fault, without the group that holds it; empty where no single key is.
        given: the value as it was given; `InputError.ABSENT` where there is none to show.
        allowed: what is wrong and what would be right, as the end of a sentence.
    """

    exit_status = 2
    ABSENT: Any = object()

    def __init__(self, key: str, given: Any, allowed: str) -> None:
        self.key, self.given, self.allowed = key, given, allowed
        super().__init__(str(self))

    def __str__(self) -> str:
        shown = "" if self.given is InputError.ABSENT else f" = {shortened(self.given)}"
        return f"{shortened(self.key, LONGEST)}{shown}: {self.allowed}" if self.key else self.allowed

    def under(self, group: str) -> InputError:
        """The same error with its key under `group`."""
        return InputError(f"{group}.{self.key}" if self.key else group, self.given, self.allowed)


class Damaged(InputError):
    """A run directory that does not hold what was written there, or no longer fits its data; other runs of a sweep are
    not touched by it.
    """

    def __init__(self, what: str) -> None:
        super().__init__("", InputError.ABSENT, what)


class ClientError(InputError):
    """Data of a client that cannot be used: in a round a failure of this client's, as any error of its own."""


class RunError(FedsamError):
    """A run that cannot go on: a diverged loss, a full disk, a damaged checkpoint (exit status 1)."""


class Busy(RunError):
    """Another process is at work in a directory."""


class DivergedError(RunError):
    """A loss, an update or a model that is no longer finite."""


class Interrupted(FedsamError):
    """The user stopped the run; the message says how to resume it (exit status 130)."""

    exit_status = 130


@contextmanager
def under(group: str) -> Iterator[None]:
    """Name the group of keys in which an `InputError` raised inside has its key."""
    try:
        yield
    except InputError as error:
        if "." in error.key:
            raise
        raise error.under(group) from None


def shortened(value: Any, most: int = 80) -> str:
    """A value as it is shown in a message: on one line, in letters that can be printed, and not too long."""
    try:
        text = value if isinstance(value, str) and value.isprintable() else repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python writes; a nest
        text = f"{type(value).__name__} too large to show"
    return text if len(text) <= most else f"{text[: most - 3]}..."


MOST = 4000  # letters of a message


def one_line(message: str) -> str:
    """A message on one line, in letters that can be printed, cut off where it would fill the screen."""
    text = " ".join(message.split())
    return shortened("".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text), MOST)
