"""What type checkers say of the examples: pyright, in the edition that brings its own node."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_examples_are_clean_for_pyright_in_basic_mode(tmp_path: Path) -> None:
    folders = sorted(str(folder) for folder in (ROOT / "examples").iterdir() if folder.is_dir())
    about = {"include": folders, "extraPaths": [str(ROOT), *folders], "typeCheckingMode": "basic"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(about))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        str(tmp_path),
    ]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    told = [
        f"{line['file']}:{line['range']['start']['line'] + 1}: {line['message']}"
        for line in found["generalDiagnostics"]
    ]
    assert told == []
    assert found["summary"]["filesAnalyzed"] >= len(list((ROOT / "examples").rglob("*.py")))
