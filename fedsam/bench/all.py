"""`python -m fedsam.bench.all OUT.jsonl`: the cases that matter on a GPU one after the other, as lines of JSON.

Lines are appended as they come, those of `fedsam bench --json`; a case that fails leaves `{"case", "error"}` and makes
the exit status 1, and the others go on.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fedsam.bench import json_object, peers, rows_of

CASES = ("paper-cnn", "ways", "cross-device", "tiny", "resnet", "aggregate", "evaluate", "geometry")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fedsam.bench.all", description="Benchmark what matters on a GPU.")
    parser.add_argument("out", type=Path, help="file that lines of JSON are appended to")
    parser.add_argument("--minutes", type=float, default=8.0, help="no case is begun after so many (default 8)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds of each variant (default 3)")
    parser.add_argument("--versus", action="store_true", help="measure peers too")
    chosen = parser.parse_args(arguments)
    from fedsam.runs.environment import hardware, versions

    about, built = hardware(), versions() | (peers.versions() if chosen.versus else {})
    began, failed = time.monotonic(), 0
    for case in CASES:
        if time.monotonic() - began > 60 * chosen.minutes:
            print(f"{case} and what follows is left out: {chosen.minutes:g} minutes are over", file=sys.stderr)
            break
        for line in lines(case, chosen.rounds, chosen.versus, about, built):
            failed += "error" in line
            with chosen.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        print(f"{case}: done after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return int(failed > 0)


def lines(
    case: str, rounds: int, versus: bool, about: dict[str, Any], built: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """What a case measures; if it fails, what it had measured and then why."""
    import torch

    try:
        for row in rows_of(case, rounds, versus):
            yield json_object(case, row, about, built)
    except Exception as error:  # whatever it is, the next case may do
        traceback.print_exc()
        yield {"case": case, "error": f"{type(error).__name__}: {error}"}
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
