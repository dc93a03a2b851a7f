"""mini_flink: a Flink DataStream job behind HTTP, with durable keyed state, exactly once."""

__version__ = "0.1.0"
