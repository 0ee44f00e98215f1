"""`python -m fedsam.torture [NAME...] [--long]`: carry out campaigns, and print what was tried and survived."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from fedsam.torture import damage, deaths, kills, refusals, rivals, stranger
from fedsam.torture.base import LONG, SHORT, USUAL, Campaign, Scale, Trial

CAMPAIGNS: dict[str, tuple[str, Campaign]] = {
    "operations": ("killed before each file operation, resumed", kills.at_operations),
    "writes": ("killed in the middle of a write, resumed", kills.within_writes),
    "moments": ("killed at random moments, resumed", kills.at_moments),
    "disk": ("disk full at each write, resumed with room", kills.disk_full),
    "damage": ("each file of a run directory damaged, then used", damage.campaign),
    "rivals": ("two processes at once on one directory", rivals.campaign),
    "inputs": ("bad input of all kinds", refusals.campaign),
    "stranger": ("a stranger at the ports of a Ray cluster", stranger.campaign),
    "deaths": ("workers and raylets of a Ray cluster killed", deaths.campaign),
}


def carry_out(names: list[str], scale: Scale) -> dict[str, list[Trial]]:
    """The trials of each campaign; on standard error it is told how it goes, and why what was not survived."""
    found: dict[str, list[Trial]] = {}
    for name in names:
        title, campaign = CAMPAIGNS[name]
        began, trials = time.monotonic(), list[Trial]()
        with tempfile.TemporaryDirectory(prefix="fedsam-torture-") as folder:
            for trial in campaign(Path(folder), scale):
                trials.append(trial)
                if trial.wrong:
                    print(f"NOT SURVIVED {name}: {trial.what}: {trial.wrong}", file=sys.stderr, flush=True)
        survived = sum(trial.wrong is None for trial in trials)
        seconds = time.monotonic() - began
        print(f"{title}: {survived} of {len(trials)} ({seconds:.0f} s)", file=sys.stderr, flush=True)
        found[name] = trials
    return found


def table(found: dict[str, list[Trial]]) -> str:
    """What was tried and survived, as Markdown."""
    lines = ["| campaign | tried | survived |", "|---|---:|---:|"]
    for name, trials in found.items():
        survived = sum(trial.wrong is None for trial in trials)
        lines.append(f"| {CAMPAIGNS[name][0]} | {len(trials)} | {survived} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Exit status 1 where anything was not survived."""
    parser = argparse.ArgumentParser(prog="python -m fedsam.torture", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CAMPAIGNS)}; all without any")
    scales = parser.add_mutually_exclusive_group()
    scales.add_argument("--long", dest="scale", action="store_const", const=LONG, default=USUAL, help="for a night")
    scales.add_argument("--short", dest="scale", action="store_const", const=SHORT, help="for half a minute")
    parser.add_argument("--json", type=Path, help="where to write every trial")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - set(CAMPAIGNS):
        parser.error(f"no such campaign: {', '.join(sorted(unknown))}; there are {', '.join(CAMPAIGNS)}")
    found = carry_out(asked.names or list(CAMPAIGNS), asked.scale)
    print(table(found))
    if asked.json:
        every = {name: [vars(trial) for trial in trials] for name, trials in found.items()}
        asked.json.write_text(json.dumps(every, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.exit(any(trial.wrong for trials in found.values() for trial in trials))


if __name__ == "__main__":
    main()
