"""Rounds of the same work, ours, by hand and by other frameworks, in alternation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from statistics import median

from fedsam.bench import Row, alternate, peers, wait_for
from fedsam.bench.common.bounds import bounds
from fedsam.bench.common.by_hand import Algorithm, HandWritten, fastest
from fedsam.bench.common.by_hand import sgd as sgd_by_hand
from fedsam.bench.common.work import Work
from fedsam.data.augment.crop_flip import CropFlip
from fedsam.engine.base import Precision
from fedsam.engine.context import numerics
from fedsam.federated.round_loop import Simulation
from fedsam.optim.base import ClientOptimizer
from fedsam.optim.sgd import SGD


@dataclass(frozen=True)
class Method:
    """A client optimiser, the same by hand, and how many gradients a step of it takes."""

    client: ClientOptimizer
    by_hand: Algorithm
    gradients: int


def plain(work: Work) -> dict[str, Method]:
    """SGD alone."""
    return {"sgd": Method(SGD(**work.local), sgd_by_hand, 1)}


def compared(
    work: Work,
    methods: dict[str, Method],
    precisions: Sequence[Precision],
    rounds: int,
    versus: bool,
    crop: bool = False,
    label: str = "",
) -> Iterator[Row]:
    """Each method in each precision; `limit_ratio` is over the loop by hand, and on a GPU its two bounds follow.

    Peers are measured in fp32 against our SGD without augmentation, as they have none of their own; each in turn with
    it, by itself, since the processes that a peer keeps take time even while they wait.

    Args:
        crop: pad, crop and flip every image.
        label: in front of each variant's name.
    """
    for precision in precisions:
        with numerics(precision), ExitStack() as stack:
            against = versus and precision == "fp32"
            wanted = {name: (method, crop) for name, method in methods.items()}
            first = next(iter(methods))
            if against and crop:
                first = "sgd, no augmentation"
                wanted[first] = plain(work)["sgd"], False
            ours = {name: _ours(stack, work, method, precision, cut) for name, (method, cut) in wanted.items()}
            device = ours[first].context.device
            store = ours[first].context.store(ours[first].federation.examples([])[0])
            layout = fastest(work, store, precision)
            hands = {
                name: HandWritten(work, store, method.by_hand, precision, cut, layout)
                for name, (method, cut) in wanted.items()
            }
            parts: dict[str, Callable[[], object]] = {}
            for name in wanted:
                parts |= {name: ours[name].advance, f"{name} by hand": hands[name].round}
            seconds = alternate(parts, rounds, wait_for(device))
            beside, theirs = dict[str, list[float]](), dict[str, list[float]]()
            for peer, round_of in peers.opened(work) if against else ():
                pair = {first: ours[first].advance, peer: round_of}
                beside[peer], theirs[peer] = alternate(pair, rounds, wait_for(device)).values()
            least = {name: _least(work, method, precision, ours[name]) for name, (method, _) in wanted.items()}
        middle = {name: median(times) for name, times in seconds.items()}
        base = next(iter(wanted))
        for name in wanted:
            limit = middle[f"{name} by hand"]
            times = {peer: median(theirs[peer]) / median(beside[peer]) for peer in theirs} if name == first else {}
            note = f"{middle[name] / middle[base]:.2f} x {base}" if name != base else ""
            engine = ours[name].engine.name
            yield Row(label + name, engine, precision, seconds[name], middle[name] / limit, note, times)
            hand = seconds[f"{name} by hand"]
            yield Row(f"{label}{name} by hand", "none", precision, hand, 1.0, layout.name)
            for bound, least_seconds in least[name].items():
                share = f"{least_seconds / middle[name]:.1%} of our time"
                yield Row(f"{label}{name}, bound by {bound}", "none", precision, [least_seconds], None, share)
        for peer, own in beside.items():
            yield Row(f"{label}{first}, in turn with {peer}", ours[first].engine.name, precision, own, None)
            yield Row(label + first, peer, precision, theirs[peer], median(theirs[peer]) / middle[f"{first} by hand"])


def _ours(stack: ExitStack, work: Work, method: Method, precision: Precision, crop: bool) -> Simulation:
    run = work.run(method.client, precision, CropFlip() if crop else None)
    return stack.enter_context(closing(Simulation(run)))


def _least(work: Work, method: Method, precision: str, like: Simulation) -> dict[str, float]:
    """The bounds of a GPU; of a CPU none, whose caches and clocks allow no such sums."""
    device = like.context.device
    return bounds(work, method.gradients, precision, device) if device.type == "cuda" else {}
