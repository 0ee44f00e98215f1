"""How a command ends: its exit status, and for an error one line on standard error."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, NoReturn, TextIO

import click
import typer

from fedsam.cli import streams
from fedsam.errors import FedsamError, InputError, Interrupted, one_line

CHEAPER = "lower client.batch_size, engine.block, cohort, or the sizes of the model and of the data"
TWICE = re.compile(r"( Did you mean '[^']*'\?)(?:\1)+")
"""What typer and click both add to a word that is no command."""


def carry_out(app: typer.Typer, arguments: Sequence[str]) -> NoReturn:
    """Run the command that the arguments ask for, and end the process with its status.

    Raises:
        SystemExit: 0 = done, 1 = something broke, 2 = bad input, 130 = stopped by the user.
        Exception: whatever it is, with --debug among the arguments.
    """
    with _patient(sys.stderr):
        try:
            if nul := next((each for each in arguments if "\0" in each), None):
                raise click.UsageError(f"{nul!r} has a NUL character in it")
            command = copy_context()  # what it allows to be imported holds for it alone
            with streams.written():
                status = command.run(app, list(arguments), prog_name="fedsam", standalone_mode=False)
            if status == Interrupted.exit_status:  # click has taken a KeyboardInterrupt for its own
                raise KeyboardInterrupt
        except BrokenPipeError:
            _nobody_reads()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):  # click's own answer
                _nobody_reads()
            if "--debug" in arguments and isinstance(error, Exception) and not isinstance(error, click.ClickException):
                raise
            words, status = described(error)
            print(one_line(words), file=sys.stderr)
        sys.exit(status if isinstance(status, int) else 0)


def _nobody_reads() -> NoReturn:
    sys.stderr.close()
    sys.exit(1)


def described(error: BaseException) -> tuple[str, int]:
    """What to say of an error, and the exit status."""
    if isinstance(error, Interrupted):
        return str(error), error.exit_status
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "stopped", Interrupted.exit_status
    if isinstance(error, FedsamError):
        return f"error: {error}", error.exit_status
    if isinstance(error, click.ClickException):
        return f"error: {_usage(error)}", error.exit_code
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"error: {error.filename}: no path can be so long", InputError.exit_status
    return f"error: {_broken(error)}", 1


def _broken(error: BaseException) -> str:
    """What to say of an error that is none of ours."""
    if isinstance(error, SystemExit):
        return f"code that was called ended the process itself, with sys.exit({error.code!r})"
    if _out_of_memory(error):
        return f"out of memory ({_first_line(error)}); {CHEAPER}"
    if isinstance(error, RecursionError):
        return f"a file or a value is nested too deeply, or a function calls itself ({_first_line(error)})"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in streams.FULL:  # a file would be named
        return f"cannot write to standard output: {error.strerror}; files that were written are whole"
    return f"{type(error).__name__}: {error} (unexpected; --debug shows the traceback)"


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    message = TWICE.sub(r"\1", error.format_message().rstrip("."))
    if isinstance(error, click.NoSuchOption) and _is_key(name := error.option_name.lstrip("-")):
        message = f"No such option {error.option_name!r}; settings have no dashes: {name}=VALUE"
    more = f"; see {context.command_path} --help" if context is not None else ""
    return f"{message}{more}"


def _is_key(name: str) -> bool:
    """Whether a setting is called so."""
    from fedsam.run import describe_keys

    return any(row.key == name for row in describe_keys())


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules:
        return False
    from fedsam.engine.isolate import out_of_memory

    return out_of_memory(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _patient(stream: TextIO) -> Iterator[None]:
    """Inside, a standard error that cannot be written to, on a full disk, is no reason to end a run."""
    sys.stderr = _Patient(stream)
    try:
        yield
    finally:
        sys.stderr = stream


class _Patient:
    """A stream whose errors are left out, but for a reader that has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As the stream's."""
        return self._try(self._stream.write, text) or 0

    def flush(self) -> None:
        """As the stream's."""
        self._try(self._stream.flush)

    def _try(self, do: Any, *given: Any) -> Any:
        try:
            return do(*given)
        except BrokenPipeError:
            raise
        except OSError:
            return None
