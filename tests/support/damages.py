"""Ways in which a file of a run directory can be damaged, for tests that try them all."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Damage = Callable[[Path], None]
ODD: tuple[Any, ...] = (None, True, -1, 10**30, 1.5, "x", "", [], [None], [[1], 2], {}, {"a": {"b": 1}})
"""Values that stand where others should."""


def of_bytes() -> Iterator[tuple[str, Damage]]:
    """Of a file whatever it holds."""

    def write(change: Callable[[bytes], bytes]) -> Damage:
        return lambda file: file.write_bytes(change(file.read_bytes())) and None

    yield "emptied", write(lambda b: b"")
    yield "halved", write(lambda b: b[: len(b) // 2])
    yield "a byte short", write(lambda b: b[:-2])
    yield "zeros", write(lambda b: bytes(len(b)))
    yield "zeros in the second half", write(lambda b: b[: len(b) // 2] + bytes(len(b) - len(b) // 2))
    yield "no UTF-8", write(lambda b: b"\xff\xfe" + b)
    yield "a bit flipped", write(lambda b: b[: len(b) // 2] + bytes([b[len(b) // 2] ^ 4]) + b[len(b) // 2 + 1 :])
    yield "twice", write(lambda b: b + b)
    yield "another word", write(lambda b: b"hello\n")
    yield "nested", write(lambda b: b"[" * 100_000)
    yield "nested objects", write(lambda b: b'{"a":' * 100_000)
    yield "removed", Path.unlink
    yield "a folder", lambda file: file.unlink() or file.mkdir()
    yield "a broken link", lambda file: file.unlink() or file.symlink_to("nowhere")
    yield "a link to itself", lambda file: file.unlink() or file.symlink_to(file.name)


def of_lines() -> Iterator[tuple[str, Damage]]:
    """Of a file of several lines."""

    def write(change: Callable[[list[bytes]], list[bytes]]) -> Damage:
        return lambda file: file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True)))) and None

    yield "first line removed", write(lambda lines: lines[1:])
    yield "second line removed", write(lambda lines: lines[:1] + lines[2:])
    yield "last line removed", write(lambda lines: lines[:-1])
    yield "reversed", write(lambda lines: lines[::-1])
    yield "first line twice", write(lambda lines: lines[:1] + lines)
    yield "a line of another kind", write(lambda lines: [*lines[:1], b"{}\n", *lines[1:]])
    yield "no round", write(lambda lines: [lines[0].replace(b'"round"', b'"sound"'), *lines[1:]])
    yield "another accuracy", write(lambda lines: [lines[0].replace(b'accuracy": 0.', b'accuracy": 0.1'), *lines[1:]])


def of_json(content: Any, depth: int = 3) -> Iterator[tuple[str, Any]]:
    """The content with one part of it in turn removed, or replaced by something odd."""
    for odd in ODD:
        yield f"is {odd!r}", odd
    for path in _paths(content, depth):
        without = copy.deepcopy(content)
        del _at(without, path[:-1])[path[-1]]
        yield f"without {_name(path)}", without
        for odd in ODD:
            if _at(content, path) == odd and type(_at(content, path)) is type(odd):
                continue
            other = copy.deepcopy(content)
            _at(other, path[:-1])[path[-1]] = odd
            yield f"{_name(path)} is {odd!r}", other


def _paths(content: Any, depth: int) -> Iterator[tuple[Any, ...]]:
    parts = dict(enumerate(content[:2])) if isinstance(content, list) else content
    for name, part in parts.items() if isinstance(parts, dict) else ():
        yield (name,)
        if depth > 1:
            yield from ((name, *rest) for rest in _paths(part, depth - 1))


def _at(content: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        content = content[name]
    return content


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def rewritten(content: Any) -> Damage:
    """Write a file anew with this content."""
    return lambda file: file.write_text(json.dumps(content)) and None
