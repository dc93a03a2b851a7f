"""Jobs that serve: ``python -m mini_flink serve mini_flink.examples.running_total``."""
