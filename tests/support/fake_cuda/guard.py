"""The part in C++, compiled once a machine."""

from __future__ import annotations

import ctypes
import fcntl
import getpass
import hashlib
import shutil
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("guard.cpp")


def missing() -> str:
    """What it cannot be compiled for; nothing if it can."""
    from torch.utils.cpp_extension import get_cxx_compiler

    lacking = [name for name in (get_cxx_compiler(), "ninja") if shutil.which(name) is None]
    return f"the fake device is compiled, and there is no {' and no '.join(lacking)}" if lacking else ""


def library() -> Path:
    """The compiled library, in a temporary folder that the next test run finds again.

    Processes that come at the same time wait for the first.
    """
    import torch
    from torch.utils import cpp_extension

    version = hashlib.sha256(f"{torch.__version__} {torch.__file__} {SOURCE.read_text()}".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"fake-cuda-{getpass.getuser()}-{version}"
    folder.mkdir(mode=0o700, exist_ok=True)
    made = folder / "guard.so"
    with (folder / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not made.exists():
            build = Path(tempfile.mkdtemp(dir=folder))
            given = {"extra_cflags": ["-O1", "-w"], "build_directory": str(build), "is_python_module": False}
            cpp_extension.load("guard", [str(SOURCE)], **given)
            next(build.glob("*.so")).rename(made)
            shutil.rmtree(build)
    return made


def put() -> None:
    """Put it in the place of the driver, for as long as this process lives."""
    ctypes.CDLL(str(library())).put_guard()
