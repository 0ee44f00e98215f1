"""The command `fedsam reproduce`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fedsam.errors import RunError
from fedsam.reproduce.base import paper, preset_of


def reproduce(
    bibkey: str,
    preset: str,
    seeds: int | None,
    only: str | None,
    out: Path | None,
    workers: int | None,
    address: str | None,
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Train, measure, answer and write; then show the table.

    Raises:
        InputError: there is no such paper, preset or run.
        Busy: another process is at work in the directory.
        RunError: a run failed; what the others gave is written.
    """
    chosen, module = preset_of(preset), paper(bibkey)
    place = out or Path("results") / bibkey / chosen
    from fedsam.reproduce.carry_out import carry_out
    from fedsam.reproduce.write import rows, show, write
    from fedsam.runs.progress import Progress, graceful
    from fedsam.storage.lock import locked

    def tell(line: str) -> None:
        if not quiet:
            print(line, file=sys.stderr)

    with locked(place), graceful() as stop, Progress(quiet) as progress:
        outcome = carry_out(
            bibkey,
            module,
            chosen,
            seeds or module.SEEDS[chosen],
            place,
            progress,
            only=only,
            stop=stop,
            workers=workers,
            address=address,
            tell=lambda line: tell(f"measuring: {line}"),
        )
        write(outcome, module, tell)
    if as_json:
        print(json.dumps(rows(outcome)))
    else:
        show(outcome)
    if outcome.failures:
        few = "; ".join(outcome.failures[:3])
        raise RunError(f"{len(outcome.failures)} runs failed: {few}; what the others gave is in {place}")
