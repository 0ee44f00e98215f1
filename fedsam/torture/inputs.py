"""Bad input, generated from the keys, the commands and their options, and from broken files; and the judging of what
comes of it.

Good is: exit status 2, one line on standard error that begins with `error:` and names the key, the option or the file,
within a few seconds. The list is the same every time.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from fedsam.run import KeyRow, describe_keys

SECONDS = 20.0  # of processor time that an input may take before it is refused; most take milliseconds
MEMORY = 8 * 2**30  # bytes of address space of a process of its own
SHORT = ("run", "--quiet", "rounds=1")
EMBEDDED = "digits"  # the data set that needs no files
ODD = ("nan", "-inf", "", "true", "x", "1,2", "0x1f", "9" * 5000, "😀", "a" * 100_000)
NAMES = (
    "no_such_name",
    "..:x",
    ":x",
    "x:",
    "a:b:c",
    "../x:y",
    "no_such_module:thing",
    "json:no_such_thing",
    "x" * 100_000,
)


@dataclass(frozen=True)
class Input:
    """Something that must be refused.

    Args:
        arguments: of the command line.
        names: what the message must hold.
        files: that the arguments name, by their names.
        status: that is right.
        apart: whether to try it in a process of its own: where it goes wrong, the interpreter may end.
    """

    arguments: tuple[str, ...]
    names: str
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 2
    apart: bool = False

    @property
    def label(self) -> str:
        """It, for a person."""
        from fedsam.errors import shortened

        return shortened(" ".join(self.arguments), 160)


@dataclass(frozen=True)
class Verdict:
    """What came of an input.

    Args:
        input: which.
        status: with which the command ended; None = it did not end in time.
        error: what it wrote to standard error.
        faults: what is wrong with that.
    """

    input: Input
    status: int | None
    error: str
    faults: tuple[str, ...]


def inputs() -> list[Input]:
    """All of them, each once."""
    rows = describe_keys()
    found = [*of_keys(rows), *of_types(rows), *of_names(rows), *of_files(), *of_options(), *of_machines()]
    return list({(each.arguments, *each.files.values()): each for each in found}.values())


def spread(count: int) -> list[Input]:
    """So many of them, evenly over all kinds, those that are tried in a process of their own among them."""
    found = inputs()
    return [found[place * len(found) // count] for place in range(min(count, len(found)))]


def of_keys(rows: Sequence[KeyRow]) -> Iterator[Input]:
    """Values that a key does not allow: beyond its bounds, of another type, of another kind of component."""
    for row in rows:
        values = NAMES if _holds_name(row) else [*_beyond(row.allowed), *ODD]
        for value in values:
            if not _allows(row.allowed, value):
                yield Input((*SHORT, *chosen(row, rows), f"{row.key}={value}"), row.key)


def of_types(rows: Sequence[KeyRow]) -> Iterator[Input]:
    """Values of a wrong type, as only a file can give them."""
    for row in rows:
        own, kind = chosen(row, rows), row.allowed.partition(" ")[0]
        wrong = ["{}", "[[1]]", "1979-05-27", *(["true"] if kind in ("int", "float") else [])]
        wrong += [] if kind == "str" else ["[]"]  # some texts can be given as a list
        wrong += ['"a\\u0000b"'] if kind in ("str", "int", "float") or _holds_name(row) else []
        for number, value in enumerate(wrong):
            name = f"wrong-{number}.toml"
            yield Input((*SHORT, *own, name), row.key, {name: f"{row.key} = {value}\n".encode()})


def of_names(rows: Sequence[KeyRow]) -> Iterator[Input]:
    """Keys that there are not: near ones, others' groups, groups themselves."""
    keys = sorted({row.key for row in rows})
    for key in keys:
        group, dot, leaf = key.partition(".")
        wrong = {f"{group}{dot}{leaf[:-1]}", f"{group}{dot}{leaf}_", f"{group}s.{leaf or group}", f"{key}.x"} - {*keys}
        for name in sorted(wrong):
            yield Input(("run", f"{name}=1"), name)
    for group in sorted({key.partition(".")[0] for key in keys if "." in key}):
        yield Input(("run", f"{group}=sgd"), group)
        yield Input(("run", f"{group}.=1"), group)


def of_files() -> Iterator[Input]:
    """Files of settings that are broken, or are none."""
    whole = b'rounds = 3\n[client]\nname = "sam"\nrho = 0.1\n[data]\nalpha = 0.5\n'
    broken = {
        "cut.toml": whole[:-4] + b"= ",
        "quote.toml": whole.replace(b'"sam"', b'"sam'),
        "twice.toml": whole + b"alpha = 1\n",
        "equals.toml": whole.replace(b"=", b"= =", 1),
        "bracket.toml": whole.replace(b"]", b"", 1),
        "bytes.toml": whole + b"# \xff\xfe\n",
        "wide.toml": whole.decode().encode("utf-16"),
        "nul.toml": whole + b"\x00",
        "deep.toml": b"x = " + b"[" * 5000 + b"]" * 5000,
        "dotted.toml": b".".join([b"a"] * 5000) + b" = 1",
        "long.toml": b"# " + b"x" * 2**22,
        "surrogate.toml": b'rounds = "\\ud800"',
        "cut.json": json.dumps({"keys": {"rounds": 3}}).encode()[:-3],
        "empty.json": b"",
        "deep.json": b'{"keys": ' + b"[" * 200_000,
        "bytes.json": b'{"keys": {"rounds": "\xff"}}',
        "digits.json": b'{"keys": {"rounds": ' + b"9" * 5000 + b"}}",
    }
    broken |= {f"keys-{n}.json": f'{{"keys": {v}}}'.encode() for n, v in enumerate(("null", "[]", "3", '"x"', "true"))}
    broken |= {f"none-{n}.json": each.encode() for n, each in enumerate(("null", "[]", "3", '"x"', "{}", "NaN"))}
    for name, content in broken.items():
        yield Input(("run", name), name, {name: content})
        if name.endswith(".toml"):
            yield Input(("sweep", name), name, {name: content})
    inner = {
        "client.base": "{}",
        "client.name": "{}",
        "data.partition": '{"name": 3}',
        "data.augment": '{"name": "\\ud800"}',
    }
    for key, value in {**inner, "out": '"a\\u0000b"', "client.lr": "true", "rounds": "1e400", "seed": "-0.5"}.items():
        name = "sam.json"
        keys = f'"client.name": "sam", "{key}": {value}' if key != "client.name" else f'"{key}": {value}'
        wrong = key if key != "out" else ""
        if wrong:
            yield Input(("run", name), wrong, {name: f'{{"keys": {{{keys}}}}}'.encode()})
    yield Input(("run", "no-such.toml"), "no-such.toml")
    yield Input(("run", "folder.toml"), "folder.toml", {"folder.toml/x": b""})
    yield Input(("run", "/dev/zero"), "/dev/zero")


def of_options() -> Iterator[Input]:
    """Arguments that a command does not have, or not so."""
    import click
    import typer

    from fedsam.cli.app import app

    def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name, inner in getattr(command, "commands", {}).items():
            yield from commands(inner, (*path, name))
        if not hasattr(command, "commands"):
            yield path, command

    for path, command in commands(typer.main.get_command(app), ()):
        settings = any(each.name == "settings" for each in command.params)
        given = () if settings else tuple("none" for each in command.params if each.required)
        yield Input((*path, *given, "--no-such-option"), "--no-such-option")
        if settings:
            for wrong in ("nonsense", "=1", " =1", "rounds", "settings.yaml", "rounds=1\0"):
                yield Input((*path, wrong), wrong.strip() if "\0" not in wrong else "NUL")
        for option in command.params:
            name = option.opts[-1]
            if not name.startswith("--") or option.is_flag:
                continue
            yield Input((*path, *given, name), name)
            values = list(_outside(option.type)) if isinstance(option.type, click.IntRange | click.FloatRange) else []
            for value in values:
                yield Input((*path, *given, f"{name}={value}"), name)
    for command in ("geometry", "report"):
        for place in ("no-such-run", "x" * 300, "a\0b", ""):
            yield Input((command, place), "NUL" if "\0" in place else place[:40])
    yield Input(("run", "--resume", "no-such-run"), "no-such-run")
    yield Input(("run", "--resume", "no-such-run", "rounds=3"), "--resume")
    yield Input(("reproduce", "no-such-paper"), "no-such-paper")
    yield Input(("bench", "no-such-bench"), "no-such-bench")
    yield Input(("no-such-command",), "no-such-command")
    for keys, name in (
        (("client.lr=0.1..1/1000000000", "--search=grid"), "client.lr"),
        (("client.lr=1..0.1",), "client.lr"),
        (("client.lr=log:0..1",), "client.lr"),
        (("client.lr=a..b", "client.rho=1,2"), "client.lr"),
        (("client.lr=0.1..1", "--search=nonsense"), "nonsense"),
        (("client.lr=0.1..1", "--grace=1000"), "grace"),
        (("client.lr=0.1..1", "data.clients=1,2"), "data.clients"),
        (("rounds=3",), "tune"),
    ):
        yield Input(("tune", *keys), name)
    many = ",".join(map(str, range(1, 200)))
    yield Input(("sweep", f"client.lr={many}", f"client.batch_size={many}"), "client.lr")


def _outside(bounds: Any) -> Iterator[str]:
    """Values that an option with bounds does not take."""
    yield from ("x", "", "1_x")
    if bounds.min is not None:
        yield str(bounds.min - 1)
    if bounds.max is not None:
        yield str(bounds.max + 1)


def of_machines() -> Iterator[Input]:
    """Numbers that a key allows, and this machine does not: memory, threads, devices."""
    small = ("rounds=1", "--quiet")
    for given in (
        ("engine.threads=1024",),
        ("engine.device=meta",),
        ("engine.device=mps",),
        ("engine.device=cuda:99",),
        ("data.name=synthetic", "data.samples_per_client=1000000000"),
        ("data.name=synthetic", "data.test_samples=1000000000"),
        ("model.depth=3", "model.width=16777216"),
        ("model.name=resnet20", "model.channels=65536"),
        ("geometry.every=1", "model.width=1000000", "geometry.top=1000"),
        ("data.name=synthetic", "data.samples_per_client=100000", "client.epochs=1000000"),
        ("out=" + "x" * 300,),
        ("out=x/" + "y/" * 3000,),
    ):
        yield Input(("run", *given, *small), given[-1].partition("=")[0], apart=True)


def chosen(row: KeyRow, rows: Sequence[KeyRow]) -> tuple[str, ...]:
    """Settings by which a run has this key."""
    if not row.of:
        return ()
    group, component = row.key.partition(".")[0], EMBEDDED if EMBEDDED in row.of else row.of[0]
    for other in rows:
        client = other.key.startswith(f"{group}.") and component in other.allowed.split()
        if client and other.of != row.of:  # a component that holds one of its own kind would never end
            return (*chosen(other, rows), f"{other.key}={component}")
    return ()


def judged(given: Input, folder: Path) -> Verdict:
    """Try an input in a folder, where its files are put.

    Args:
        given: what to try.
        folder: an empty one, or one of other inputs.
    """
    for name, content in given.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    began = time.process_time()
    status, error = (_apart if given.apart else _inside)(given.arguments, folder)
    faults = []
    if status != given.status:
        faults.append("did not end in time" if status is None else f"status {status}, not {given.status}")
    lines = [line for line in error.splitlines() if not line.startswith("note: ")]  # a note names what is imported
    if len(lines) != 1 or not lines[0].startswith("error: ") or not error.endswith("\n"):
        faults.append("not one line that begins with error:")
    if given.names not in error:
        faults.append(f"does not name {given.names!r}")
    faults += [f"says {word!r}" for word in ("(unexpected", "Traceback", "Warning") if word in error]
    if len(error) > 5000 or not all(letter.isprintable() or letter == "\n" for letter in error):
        faults.append("cannot be read")
    if time.process_time() - began > SECONDS:
        faults.append(f"took more than {SECONDS:g} s")
    return Verdict(given, status, error, tuple(faults))


def survey(given: Iterable[Input], folder: Path) -> list[Verdict]:
    """The verdicts on inputs, each tried in a folder of its own."""
    found = []
    for number, each in enumerate(given):
        place = folder / f"{number:04d}"
        place.mkdir(parents=True)
        found.append(judged(each, place))
    return found


class _TooLong(BaseException):
    """An input took more processor time than it may."""


def _inside(arguments: Sequence[str], folder: Path) -> tuple[int | None, str]:
    """Status and standard error of a command in this process."""
    from fedsam.cli import app

    def late(number: int, frame: FrameType | None) -> None:
        raise _TooLong

    out, error = io.StringIO(), io.StringIO()
    bounded = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGVTALRM, late) if bounded else None
    status: int | None = 0
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            if bounded:
                signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
            app.main(list(arguments))
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0
        except _TooLong:
            status = None
        finally:
            if bounded:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
                signal.signal(signal.SIGVTALRM, before)
    return status, error.getvalue()


LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({0}, {0}));"
    "resource.setrlimit(resource.RLIMIT_CPU, ({1}, {1})); from fedsam.cli.app import main; main(sys.argv[1:])"
)


def _apart(arguments: Sequence[str], folder: Path) -> tuple[int | None, str]:
    """Status and standard error of a command in a process of its own, whose memory and time are limited."""
    code = LIMITED.format(MEMORY, int(2 * SECONDS))
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, timeout=10 * SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stderr.decode(errors="replace")


def _holds_name(row: KeyRow) -> bool:
    return not re.match(r"(int|float|bool|str)\b", row.allowed) and isinstance(row.default, str)


def _beyond(allowed: str) -> list[str]:
    """Numbers just outside the bounds, and far away."""
    found = []
    for sign, number in re.findall(r"([≥>≤<]) (\S+)", allowed):
        limit = float(number)
        step = 1.0 if abs(limit) < 2**52 and allowed.startswith("int") else max(abs(limit), 1.0)
        outside = {"≥": limit - step, ">": limit, "≤": limit + step, "<": limit}[sign]
        found.append(f"{outside:.0f}" if allowed.startswith("int") else repr(outside))
    return [*found, "-1e300"] + ([str(-(2**63)), "1.5"] if allowed.startswith("int") else [])


def _allows(allowed: str, value: str) -> bool:
    """Whether a value could be right after all."""
    kind = allowed.partition(" ")[0]
    return kind == "str" or value in allowed.split() or (kind == "bool" and value in ("true", "false", "1", "0"))
