"""What is imported because a configuration names it, `package.module:attribute`: it is code of somebody else's.

A module is looked for where Python looks for modules, and after that in the current directory, so that nothing that
lies there hides a module of Python's, of a package or of fedsam's. Python's own modules are never imported by name.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
import sysconfig
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, get_origin

from fedsam.border import beside
from fedsam.errors import InputError

log = logging.getLogger(__name__)

_refused: ContextVar[tuple[str, Collection[str]] | None] = ContextVar("refused", default=None)
_trusted: ContextVar[bool] = ContextVar("trusted", default=False)


@contextmanager
def no_imports(because: str, but: Collection[str] = ()) -> Iterator[None]:
    """Inside, nothing is imported by name.

    Args:
        because: why, as the end of a sentence.
        but: names that are imported all the same.
    """
    token = _refused.set((because, but))
    try:
        yield
    finally:
        _refused.reset(token)


def imported(name: str) -> Any:
    """What `package.module:attribute` names; the module is named in a note before it is imported.

    Raises:
        InputError: it is no such name, the module is Python's own, cannot be imported or lacks the attribute, or
            nothing may be imported here.
    """
    module_name, _, attribute = name.partition(":")
    parts = [*module_name.split("."), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise InputError("name", name, "must be a name, or package.module:attribute")
    top = parts[0]
    if top in sys.stdlib_module_names or top in ("builtins", "test"):
        why = f"{top!r} is a module of Python's own, which holds none; a file of yours of that name needs another one"
        raise InputError("name", name, why)
    if (refused := _refused.get()) and name not in refused[1]:
        raise InputError("name", name, f"is not imported: {refused[0]}")
    found: Any = _module(module_name, name)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            where = getattr(sys.modules.get(module_name), "__file__", None) or "without a file"
            raise InputError("name", name, f"module {module_name!r} has no {attribute!r} ({where})") from None
    return found


def _module(module_name: str, name: str) -> Any:
    if module_name in sys.modules:
        return sys.modules[module_name]
    client = os.getcwd()
    if not {"", client} & set(sys.path):
        sys.path.append(client)  # last: what lies there hides nothing
    importlib.invalidate_caches()
    top = module_name.partition(".")[0]
    if top != beside.PACKAGE:
        spec = None if top in beside.NAMES else find_spec(top)
        log.info("importing %s%s, which %s names", module_name, f" ({spec.origin})" if spec else "", name)
    try:
        if top in beside.NAMES:
            return _under_a_name_of_ours(top, module_name)
        return importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            "name", name, f"cannot import {module_name!r} ({error}); is it installed or in the current directory?"
        ) from None
    except (Exception, SystemExit) as error:
        raise InputError("name", name, f"importing {module_name!r} failed: {_brief(error)}") from error


def _under_a_name_of_ours(top: str, module_name: str) -> Any:
    """A module of a package that is called as one of ours: the user's where there is one, else ours."""
    if top not in sys.modules:
        ours = str(beside.HERE.parent)
        elsewhere = [entry for entry in map(os.path.abspath, sys.path) if os.path.realpath(entry) != ours]
        if spec := PathFinder.find_spec(top, elsewhere):
            sys.modules[top] = module_from_spec(spec)
            if spec.loader:
                spec.loader.exec_module(sys.modules[top])
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        try:
            return importlib.import_module(f"{beside.PACKAGE}.{module_name}")
        except ModuleNotFoundError:
            raise error from None


def _brief(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{f': {text}' if text else ''}{where}"


def must_build(found: Any, name: str, *wanted: type) -> None:
    """Look at a callable before it is called: it must be meant to build an object of a class of `wanted`.

    That is this class or one below it; a function whose signature says that it returns such an object; or a function
    that says nothing of what it returns, unless it belongs to an installed package, where anything can be found.

    Raises:
        InputError: it is not.
    """
    names = (f"torch.nn.{w.__name__}" if w.__module__.startswith("torch.nn.") else w.__name__ for w in wanted)
    label = " or ".join(names)
    if inspect.isclass(found):
        if not issubclass(found, wanted):
            raise InputError("name", name, f"is a class that is no {label}")
        return
    function = found
    while isinstance(function, partial | MethodType):
        function = function.func if isinstance(function, partial) else function.__func__
    if not isinstance(function, FunctionType):
        function = inspect.getattr_static(type(function), "__call__", None)
    function = inspect.unwrap(function) if isinstance(function, FunctionType) else None
    if not isinstance(function, FunctionType):
        raise InputError("name", name, "is not written in Python; wrap it in a function of your own")
    says = _returned(function)
    if says is not _NOTHING:
        if not issubclass(says, wanted):
            raise InputError("name", name, f"returns {says.__name__}, as it says itself; must return a {label}")
        return
    if _is_installed(Path(function.__code__.co_filename)):
        raise InputError(
            "name", name, f"does not say that it returns a {label}; call it in a function of your own, and name that"
        )


_NOTHING = object()


def _returned(function: FunctionType) -> Any:
    """What a function says that it returns; `_NOTHING` if it says nothing that is a class."""
    try:
        said = inspect.get_annotations(function, eval_str=True).get("return", _NOTHING)
    except Exception:  # names that are there for type checkers alone
        return _NOTHING
    origin: Any = get_origin(said)
    said = type(None) if said is None else said if origin is None else origin
    return said if inspect.isclass(said) and said is not object else _NOTHING


def _is_installed(file: Path) -> bool:
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(file.resolve().is_relative_to(Path(place).resolve()) for place in places if place)


def trust(yes: bool = True) -> bool:
    """Whether files of other users are used from now on, in this context; the argument."""
    _trusted.set(yes)
    return yes


def must_be_own(*files: Path) -> None:
    """Refuse files and folders of another user, whose content could name code to be run, unless they are trusted.

    Raises:
        InputError: one is another user's.
    """
    if found := _of_others(files):
        raise InputError("", InputError.ABSENT, found)


def import_nothing_of_others(file: Path) -> None:
    """From now on, in this context, import nothing by name if a configuration file is another user's, unless it is
    trusted.
    """
    if found := _of_others([file]):
        _refused.set((found, ()))


def _of_others(files: Sequence[Path]) -> str | None:
    if _trusted.get() or not hasattr(os, "geteuid"):
        return None
    for file in files:
        owner = file.stat().st_uid if file.exists() else 0
        if owner not in (os.geteuid(), 0):  # root could do anything anyway
            what = "what it names would run as you; look at it, and add --trust if you trust it"
            return f"{file} belongs to {_user(owner)}; {what}"
    return None


def _user(number: int) -> str:
    try:
        import pwd

        return f"the user {pwd.getpwuid(number).pw_name}"
    except (ImportError, KeyError):
        return f"another user ({number})"
