"""Reads and writes savepoints from any Python program, with the names of Flink's State Processor API.

    with SavepointReader.read("backups/00c0ffee-000012") as savepoint:
        for key, total in savepoint.read_keyed_state("total", ValueStateDescriptor("total", int)):
            …

    with open("totals.csv", newline="") as file:
        written = (
            SavepointWriter.new_savepoint("running-total")
            .with_operator("total", ValueStateDescriptor("total", int),
                           ((key, int(total)) for key, total in csv.reader(file)))
            .write("backups")
        )

Everything streams: memory is bounded whatever a savepoint holds. Never runs a job, never asks a server.
``reader`` and ``writer`` are the two sides; ``existing`` opens what is there, ``encoding`` goes between keys
with values and stored items, ``sorting`` puts items into the order of the files.
"""

from __future__ import annotations

from mini_flink.state_processor.existing import StateInfo
from mini_flink.state_processor.reader import DeadLetter, SavepointReader
from mini_flink.state_processor.writer import SavepointWriter, WrittenSavepoint

__all__ = ["DeadLetter", "SavepointReader", "SavepointWriter", "StateInfo", "WrittenSavepoint"]
