"""Text in and out: files are UTF-8 whatever the locale, and terminals are shown what they can show."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.cli import streams
from fedsam.cli.app import main
from fedsam.cli.settings import parse
from fedsam.data.stored import data_folder
from fedsam.run import describe_keys
from fedsam.storage.text import decoded, encoded

ROOT = Path(fedsam.__file__).parents[1]
C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"rounds = 3", "rounds = 3"),
        (b"\xef\xbb\xbfrounds = 3 # caf\xc3\xa9", "rounds = 3 # café"),
    ],
)
def test_text_is_utf_8_with_or_without_its_mark(content: bytes, text: str) -> None:
    assert decoded(content) == text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("rounds = 3".encode("utf-16"), "its text is UTF-16 or UTF-32; save the file as UTF-8"),
        ("rounds = 3".encode("utf-16-be"), "its text is UTF-16"),
        ("rounds = 3".encode("utf-32"), "its text is UTF-16"),
        (b"a = 1\n# caf\xe9\n", "byte 0xe9 in line 2, column 6 is not UTF-8; save the file as UTF-8"),
        (b"\xef\xbb\xbf\xff", "byte 0xff in line 1, column 1 is"),
    ],
)
def test_a_settings_file_in_another_encoding_gets_one_line(inside: Path, content: bytes, says: str) -> None:
    Path("a.toml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        parse(["a.toml"])
    assert str(caught.value).startswith(f"a.toml cannot be read: {says}")


def test_a_pipe_is_not_waited_for(inside: Path) -> None:
    os.mkfifo("a.toml")
    with pytest.raises(InputError, match=r"^a.toml cannot be read: it is a named pipe, not a file$"):
        parse(["a.toml"])


def test_endings_may_be_capitals(inside: Path) -> None:
    Path("a.TOML").write_bytes(b"\xef\xbb\xbfrounds = 3")
    Path("b.JSON").write_text(json.dumps({"keys": {"seed": 4}}), encoding="utf-8")
    assert parse(["a.TOML", "b.JSON"]) == {"rounds": 3, "seed": 4}


def test_home_is_put_for_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Run(out="~/x").out == parse(["out=~/x"])["out"] == str(tmp_path / "x")
    assert Run(out="$HOME/x").out == "$HOME/x"
    assert Run(out="").out == ""


def test_without_a_home_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("FEDSAM_DATA", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    with pytest.raises(InputError, match=r"^root = ~/.cache/fedsam: there is no home directory for ~; give a path"):
        data_folder()
    with pytest.raises(InputError, match=r"^out = ~/x: there is no home directory for ~"):
        Run(out="~/x")


def test_what_an_encoding_lacks_is_shown_in_ascii() -> None:
    shown = {"±": "+/-", "≥": ">=", "λ₁": "lambda1", "σ²": "sigma2", "Δ": "Delta", "θᵀ": "thetaT", "ỹ": r"\u1ef9"}
    shown |= {"┃━┏": "|-+", "█": "#", "x̄": "x", "中": r"\u4e2d"}
    assert {text: "".join(map(streams.plain, text)) for text in shown if text[0] != "x"} == {
        text: plain for text, plain in shown.items() if text[0] != "x"
    }
    assert streams.plain("x̄"[1]) == ""
    rows = "".join(str(value) for row in describe_keys() for value in vars(row).values())
    assert all(streams.plain(letter).isascii() for letter in rows if not letter.isascii())
    assert not [letter for letter in rows if not letter.isascii() and "\\" in streams.plain(letter)]


def test_a_stream_shows_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    streams.fit()
    print("± λ é \udcc3\udca9", end="", flush=True)
    assert raw.getvalue() == b"\xb1 lambda \xe9 \xc3\xa9"


def test_bytes_of_a_name_go_back_into_text() -> None:
    assert encoded("é ± \udcc3\udca9") == "é ± é".encode()
    assert encoded("\udcff").decode() == "\N{REPLACEMENT CHARACTER}"
    assert encoded("\ud800") == rb"\ud800"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_keys_are_shown_on_any_terminal(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    with pytest.raises(SystemExit) as ended:
        main(["keys"])
    assert ended.value.code == 0
    shown = raw.getvalue().decode(encoding)
    assert "int >= 1" in shown
    assert ("·" in shown) == (encoding == "cp1252")


def test_a_comparison_is_trained_written_and_shown_in_the_c_locale(tmp_path: Path) -> None:
    (tmp_path / "é.toml").write_text("rounds = 1 # ±\n'data.clients' = 5\ncohort = 2\n", encoding="utf-8")
    given = ["compare", "é.toml", "--seeds", "2", "client.name=sgd,sam", "evaluate_every=1", "out=ü"]
    line = [sys.executable, "-m", "fedsam", *(text.encode() for text in given)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    environment = {**plain, **C, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"+/-" in done.stdout
    assert "report: ü/report.html".encode() in done.stdout
    assert "±" in (tmp_path / "ü" / "table.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("line", [["run", "rounds=1", "out=r", "-q"], ["keys"]], ids=["little", "more than a buffer"])
def test_a_full_standard_output_is_said_when_all_is_saved(
    line: list[str], inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as stopped:
            main(line)
    assert stopped.value.code == 1
    said = "error: standard output cannot be written: No space left on device; files that were written are complete\n"
    assert capsys.readouterr().err == said
    assert Path("r/report.html").is_file() or line == ["keys"]


def test_a_partition_that_cannot_be_drawn_gets_one_line(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").write_text("no folder", encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["partition", "data.clients=5"])
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("error: cannot write ")


def test_every_text_file_is_opened_as_utf_8() -> None:
    """Or as ASCII, which is the same everywhere."""
    missing = []
    for file in [*ROOT.glob("fedsam/**/*.py"), *ROOT.glob("strategies/*.py"), *ROOT.glob("experiments/**/*.py")]:
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and _is_text(call) and not any(k.arg == "encoding" for k in call.keywords):
                missing.append(f"{file.name}:{call.lineno}")
    assert not missing


def _is_text(call: ast.Call) -> bool:
    """Whether a call opens, reads or writes a text file, or reads text from a process; ours know their encoding."""
    method, holder = isinstance(call.func, ast.Attribute), getattr(call.func, "value", None)
    name, of = (
        getattr(call.func, "attr", getattr(call.func, "id", "")),
        getattr(holder, "attr", getattr(holder, "id", "")),
    )
    constants = [one.value for one in [*call.args, *(k.value for k in call.keywords)] if isinstance(one, ast.Constant)]
    mode = next((one for one in constants if isinstance(one, str) and set(one) <= set("rwaxbt+")), "r")
    if of in ("gzip", "zip"):  # bytes, unless text is asked for
        return name == "open" and "t" in mode
    if name in ("read_text", "write_text") or any(k.arg == "text" for k in call.keywords):
        return method and of != "text"
    return name == "open" and of not in ("os", "Image", "RunDirectory", "place") and "b" not in mode
