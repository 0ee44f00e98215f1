"""Training clients through Flower messages: the engine's side.

Shapes: K clients of a round, P parameters.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from torch import Tensor

from fedsam.cluster.join import MEMORY
from fedsam.data.base import Federation
from fedsam.engine.base import Trainer
from fedsam.engine.context import RunContext
from fedsam.engine.messages import Failure, Order, Trained
from fedsam.errors import RunError
from fedsam.flower.names import CONFIG, EXAMPLES, METRICS, PARTITION
from fedsam.flower.records import contents_of, payload_from, trained_from

log = logging.getLogger("fedsam")

LOST = {  # errors of the network, not of the client's work
    ErrorCode.MESSAGE_UNAVAILABLE,
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
    ErrorCode.NODE_UNAVAILABLE,
}
QUICK, SLOW = 0.02, 0.05  # seconds between looks for answers, from the first to the later ones
TOGETHER = 200  # nodes asked at once: what Flower's simulation does for a message grows with those under way
ALIVE = 2.0  # seconds between looks whether the nodes that have not answered are still there


class GridTrainer(Trainer):
    """Asks the nodes once who they are; then a round is one message to each sampled client's node.

    What a client keeps from round to round is at its node. Answers are taken in the order of the clients, whatever
    node ids and order of replies Flower hands out.

    Args:
        timeout: seconds to wait for a client's answer in a round.
        wait: seconds to wait for another node to connect.
        stop: ends what was started for this run.
        check: raises if the runtime has died.
    """

    keeps_client_state = True
    reads = False

    def __init__(
        self,
        context: RunContext,
        federation: Federation,
        grid: Grid,
        timeout: float,
        wait: float,
        stop: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(context, federation)
        self.grid, self.timeout, self.wait, self.stop, self.check = grid, timeout, wait, stop, check
        self.keys = json.dumps({name: value for name, value in context.keys.items() if value is not None})
        self.nodes: dict[int, int] = {}  # by partition
        self.examples: dict[int, int] = {}  # by partition
        self.asked: set[int] = set()
        self._roll_call()
        self.about = f"{len(self.nodes)} nodes, each running loop"

    def close(self) -> None:
        """Stop the runtime, if it was started for this run."""
        self.stop()

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients, as their nodes say."""
        known = [self.examples.get(client) for client in ids]
        if None not in known:
            return np.array(known, dtype=np.int64)
        client = self.federation.sizes(ids)
        return np.array([n if k is None else k for k, n in zip(known, client, strict=True)], dtype=np.int64)

    def _roll_call(self) -> None:
        """Wait until every client has a node, and learn which: as long as nodes come, connect, or are about to answer.

        Raises:
            RunError: no node takes part.
        """
        first = began = told = time.monotonic()
        while True:
            self.check()
            asked = self._meet()
            if len(self.nodes) >= self.federation.clients:
                return
            now = time.monotonic()
            if asked:
                began = now
            if now - began > self.wait or now - first > self.timeout:
                break
            if now - told > 10:
                told = now
                log.warning("%d of %d nodes have connected", len(self.nodes), self.federation.clients)
            time.sleep(SLOW)
        if not self.nodes:
            raise RunError(f"no Flower node connected within {self.wait:.0f} s; start some, or set engine.wait")
        missing = sorted(set(range(self.federation.clients)) - set(self.nodes))
        log.warning(
            "going on with %d of %d nodes; without one: clients %s",
            len(self.nodes),
            self.federation.clients,
            ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else ""),
        )

    def _meet(self) -> bool:
        """Ask the nodes that are new which partition they are; whether there were any."""
        there = list(self.grid.get_node_ids())
        new = [node for node in there if node not in self.asked]
        self.asked |= set(new)
        for begin in range(0, len(new), TOGETHER):
            self._ask(new[begin : begin + TOGETHER], there)
        return bool(new)

    def _ask(self, new: list[int], there: list[int]) -> None:
        content = RecordDict({CONFIG: ConfigRecord({"run": self.keys})})
        for node, answer in self._answers(dict.fromkeys(new, content), MessageType.QUERY, self.timeout):
            if isinstance(answer, Failure) and answer.lost:
                self.asked.discard(node)  # it may come back
                continue
            if isinstance(answer, Failure):
                raise RunError(f"Flower node {node} cannot take part: {answer.error}")
            said = answer.content.metric_records[METRICS]
            partition = int(said[PARTITION])  # type: ignore[arg-type]
            if partition in self.nodes and self.nodes[partition] in there:
                raise RunError(
                    f"two Flower nodes say that they are partition {partition}; give each its own partition-id"
                )
            self.nodes[partition] = node
            if EXAMPLES in said:
                self.examples[partition] = int(said[EXAMPLES])  # type: ignore[arg-type]

    def train(self, theta_P: Tensor, order: Order) -> Iterator[Trained]:
        """Send each client's node the weights; take the answers in the clients' order."""
        self.check()
        self._find(order.ids)
        layout = self.context.layout
        sent = contents_of(order, layout, theta_P, self.keys, self.context.transforms is not None)
        contents = zip(order.ids, sent, strict=True)
        asked = {self.nodes[client]: content for client, content in contents if client in self.nodes}
        coming = self._answers(asked, MessageType.TRAIN, self.timeout)
        answers: dict[int, Message | Failure] = {}
        for row, client in enumerate(order.ids):
            if client not in self.nodes:
                yield self.failed([Failure(client, "it has no node", lost=True)])
                continue
            while self.nodes[client] not in answers:
                node, answer = next(coming)
                answers[node] = answer
            answer = answers.pop(self.nodes[client])
            if isinstance(answer, Failure):
                yield self.failed([Failure(client, answer.error, answer.trace, answer.lost)])
                continue
            yield self._delivered(order.part([row]), answer.content, theta_P)

    def _delivered(self, order: Order, content: RecordDict, theta_P: Tensor) -> Trained:
        """The one client of an order, by its answer: updates were transformed where they were made."""
        done, payload = trained_from(content, self.context.layout, theta_P), payload_from(content, theta_P)
        if self.context.transforms and payload:
            delta_1P = self.context.transforms.decode(payload, order.ids, order.round, theta_P)
        else:
            delta_1P = done.update(theta_P)
        return self.delivered(order, delta_1P, done, done.loss + delta_1P.sum(dim=1))

    def _find(self, ids: Sequence[int]) -> None:
        """Look for nodes that have come back under another id."""
        there = set(self.grid.get_node_ids())
        self.nodes = {client: node for client, node in self.nodes.items() if node in there}
        if any(client not in self.nodes for client in ids):
            self._meet()

    def _answers(
        self, contents: dict[int, RecordDict], kind: str, timeout: float
    ) -> Iterator[tuple[int, Message | Failure]]:
        """Send each node its message, and yield what it answers, or why it does not."""
        messages = {node: Message(content, node, kind) for node, content in contents.items()}
        nodes = {
            str(message): node
            for message, node in zip(self.grid.push_messages(messages.values()), messages, strict=True)
        }
        began = looked = time.monotonic()
        pause = QUICK
        while nodes:
            for answer in self.grid.pull_messages(list(nodes)):
                node = nodes.pop(answer.metadata.reply_to_message_id)
                yield node, _failure(answer) if answer.has_error() else answer
            now = time.monotonic()
            if now - began > timeout:
                reason = f"no answer within {timeout:.0f} s (engine.timeout)"
                yield from ((node, Failure(-1, reason, lost=True)) for node in nodes.values())
                return
            if now - looked > ALIVE:
                self.check()
                looked, there = now, set(self.grid.get_node_ids())
                for message in [message for message, node in nodes.items() if node not in there]:
                    yield nodes.pop(message), Failure(-1, "its node is gone", lost=True)
            pause = min(SLOW, 1.5 * pause)
            if nodes:
                time.sleep(pause)


def _failure(answer: Any) -> Failure:
    reason = _in_words(str(answer.error.reason or f"error {answer.error.code}"))
    brief, _, trace = reason.partition("\n")
    return Failure(-1, brief, trace, lost=answer.error.code in LOST)


def _in_words(reason: str) -> str:
    """What Flower says of an exception, without Python's way to write it: `<class 'ray.SomeError'>:<'text'>`."""
    found = re.fullmatch(r"<class '([\w.]*?)(\w+)'>:<'(.*)'>", reason, re.DOTALL)
    if not found:
        return reason
    module, kind, text = found.groups()
    if module.startswith("ray."):
        return f"the Ray process that worked on it died each time it was tried ({kind}); {MEMORY}\n{text}"
    return f"{kind}: {text.strip()}"
