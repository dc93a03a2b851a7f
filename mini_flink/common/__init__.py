"""What jobs share beside the stream API: durations, rows, type hints; the names of ``pyflink.common``."""

from mini_flink.common.row import Row
from mini_flink.common.time import Duration, Time
from mini_flink.common.typeinfo import TypeInformation, Types

__all__ = ["Duration", "Row", "Time", "TypeInformation", "Types"]
