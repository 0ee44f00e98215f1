"""Which client failed: work on several clients at once that raises an error is done again for each alone."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fedsam.data.base import Federation
from fedsam.data.plan import ClientPlan
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.engine.messages import Failure, Order
from fedsam.errors import ClientError, FedsamError, RunError

T = TypeVar("T")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the host."""
    import torch

    told = "can't allocate memory" in str(error) or "not enough memory" in str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or told


def failure(client: int, error: BaseException) -> Failure:
    """What a client's error says: its kind, its text, and the last line of code it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return Failure(client, text + where, "".join(traceback.format_exception(error)))


def attempt(
    rows: Sequence[int], ids: Sequence[int], work: Callable[[list[int]], T]
) -> tuple[list[int], T | None, list[Failure]]:
    """Do `work` on the clients of these rows; those that raise an error, also alone, are left out.

    Args:
        rows: places of the clients in `ids`.
        ids: all clients of the round.
        work: is given the rows it is to work on.

    Returns:
        The rows that were worked on, what `work` gave for them (None if there are none), and the failures.

    Raises:
        RunError: the clients fail together, but none of them alone.
        FedsamError: `work` raised it, and not about a client's data; it is passed on, and so is any error that tells
            of memory that ran out.
    """
    rows = list(rows)
    try:
        return rows, work(rows), []
    except (Exception, SystemExit) as error:  # code of a user that would end the process without a word
        if (isinstance(error, FedsamError) and not isinstance(error, ClientError)) or out_of_memory(error):
            raise
        if len(rows) == 1:
            return [], None, [failure(ids[rows[0]], error)]
        together = failure(-1, error)
    failed = [found for row in rows for found in attempt([row], ids, work)[2]]
    if not failed:
        some = ", ".join(str(ids[row]) for row in rows)
        raise RunError(f"clients {some}, trained as one block, raised {together.error}; alone, none of them does")
    if all(found.what != together.what for found in failed):
        failed = [found.after(together) for found in failed]
    bad = {found.client for found in failed}
    rows = [row for row in rows if ids[row] not in bad]
    return rows, work(rows) if rows else None, failed


def plan_round(
    context: RunContext, federation: Federation, order: Order
) -> tuple[DeviceSplit | None, dict[int, ClientPlan], list[Failure]]:
    """The plans of an order's clients by their rows, the store on the device that they point into (None if no client
    can be planned), and the clients whose data raise an error.
    """
    rows, found, failures = attempt(
        range(len(order.ids)), order.ids, lambda rows: context.plan(federation, order.part(rows))
    )
    if found is None:
        return None, {}, failures
    return context.store(found[0]), dict(zip(rows, found[1], strict=True)), failures
