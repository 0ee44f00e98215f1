"""The version stands in several places, and is the same in all of them."""

from __future__ import annotations

import re
from pathlib import Path

import fedsam

ROOT = Path(__file__).parents[2]


def test_the_version_is_the_changelogs_newest() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == fedsam.__version__
    assert f"\nversion: {fedsam.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {fedsam.__version__}\n" in (ROOT / "docs" / "develop" / "release-notes.md").read_text()
