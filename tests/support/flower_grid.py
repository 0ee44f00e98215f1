"""A grid without a network: nodes with random ids that answer in random order, by the project's own ClientApp."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

pytest.importorskip("flwr")
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from fedsam.flower.client_app import app as client_app

IDENTITY = ("_run_id", "_task_id", "_node_id")


class Nodes(Grid):
    """One node a partition.

    Args:
        partitions: how many.
        seed: of node ids and order of replies.
        says: whether nodes know how many partitions there are.
        app: the ClientApp on each of them.
    """

    def __init__(
        self, partitions: int, seed: int = 0, says: bool = True, app: ClientApp = client_app, **config: Any
    ) -> None:
        self.app = app
        self.rng = random.Random(seed)
        self.contexts: dict[int, Context] = {}
        self.partitions, self.config = partitions, config | ({"num-partitions": partitions} if says else {})
        self.waiting: dict[str, Message] = {}
        self.away: set[int] = set()
        self.log: list[tuple[str, int]] = []
        self.before: Callable[[Message, int], Message | None] = lambda message, partition: None
        for partition in range(partitions):
            self.join(partition)

    def join(self, partition: int) -> int:
        """A node for this partition, with a new id."""
        node = self.rng.getrandbits(60) + 1
        self.contexts[node] = Context(1, node, {"partition-id": partition, **self.config}, RecordDict(), {})
        return node

    def leave(self, partition: int) -> None:
        """The nodes of this partition are gone."""
        self.away |= {n for n, context in self.contexts.items() if context.node_config["partition-id"] == partition}

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any: ...

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        ids = [node for node in self.contexts if node not in self.away]
        self.rng.shuffle(ids)
        return ids

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"m{self.rng.getrandbits(60)}"
            self.waiting[message.metadata.message_id] = message
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        ids = list(message_ids)
        self.rng.shuffle(ids)
        answered = []
        for found in ids[: max(1, len(ids) // 2)]:
            message = self.waiting[found]
            node = message.metadata.dst_node_id
            if node in self.away:
                continue
            del self.waiting[found]
            partition = int(self.contexts[node].node_config["partition-id"])
            self.log.append((message.metadata.message_type, partition))
            answer = self.before(message, partition) or self.app(message, self.contexts[node])
            answer.metadata.__dict__["_reply_to_message_id"] = found
            answered.append(answer)
        return answered

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        ids, found = list(self.push_messages(messages)), []
        while len(found) < len(ids):
            found += self.pull_messages([i for i in ids if i in self.waiting])
        return found


def error(message: Message, code: int, reason: str) -> Message:
    """An error as the answer."""
    return Message(Error(code, reason), reply_to=message)


@pytest.fixture
def inside_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is one of Flower's, or no message could be made."""
    for name in IDENTITY:
        monkeypatch.setattr(TaskIdentity, name, 1)
