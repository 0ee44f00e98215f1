"""What Flower's messages and nodes call things; light, so that a node can say who it is at once."""

from __future__ import annotations

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict

ARRAYS, METRICS, CONFIG = "arrays", "metrics", "config"  # the names of a message's records
SENT, UPLOADS, CLIENT_STATE = "sent", "uploads", "slots"  # of strategies whose clients do more than train
LOSS = "train_loss"  # in the metrics
UPDATE = "update"  # what travels for a transformed update, instead of weights
TRANSFORMED = "transformed"  # in the config: whether to answer with that
STEPS = "steps"  # in the config: how many of its local steps a client takes
EXAMPLES = "num-examples"  # the weight in the metrics
PARTITION, PARTITIONS = "partition-id", "num-partitions"  # of a node


def config_of(message: Message) -> ConfigRecord:
    """A message's config; empty where it has none."""
    return message.content.config_records.get(CONFIG) or ConfigRecord()


def identity(context: Context) -> dict[str, int]:
    """Which partition a node is, and of how many where it knows."""
    return {name: int(context.node_config[name]) for name in (PARTITION, PARTITIONS) if name in context.node_config}


def introduce(message: Message, context: Context) -> Message:
    """The answer to who a node is: `metrics` with `partition-id` and, where it knows, `num-partitions`."""
    return Message(RecordDict({METRICS: MetricRecord(dict(identity(context)))}), reply_to=message)
