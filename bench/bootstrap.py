"""``python -m bench.bootstrap``: a savepoint is made of a CSV of a million keys, and read again.

The CSV is made beforehand, its keys in no order. Memory is the peak of this process, with Python and all that
it has imported.
"""

from __future__ import annotations

import argparse
import csv
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mini_flink.datastream.state import ValueStateDescriptor
from mini_flink.state_processor import SavepointReader, SavepointWriter, WrittenSavepoint

_STEP = 611_953  # a prime: modulo other numbers of keys its multiples are all different, and jump about
TOTAL = ValueStateDescriptor("total", int)


def main() -> int:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        rows = Path(folder, "totals.csv")
        _make(rows, options.keys)
        began = time.perf_counter()
        written = _bootstrap(rows, folder)
        _report("written", written.keys, time.perf_counter() - began)
        print(f"{'':10}{written.total_bytes / 1e6:.1f} MB from {rows.stat().st_size / 1e6:.1f} MB of CSV")
        began = time.perf_counter()
        with SavepointReader.read(written.path) as savepoint:
            total = sum(value for _, value in savepoint.read_keyed_state("total", TOTAL))
        _report("read", written.keys, time.perf_counter() - began)
        return 0 if total == sum(range(options.keys)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.bootstrap", description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000, help="rows of the CSV (1000000)")
    parser.add_argument(
        "--folder", type=Path, help="where files are put meanwhile (the one for temporary files)"
    )
    return parser


def _make(path: Path, keys: int) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            (f"customer-{key:09d}", total) for total, key in enumerate(_shuffled(keys))
        )


def _shuffled(keys: int) -> Iterator[int]:
    return (number * _STEP % keys for number in range(keys))


def _bootstrap(rows: Path, folder: str) -> WrittenSavepoint:
    with rows.open(newline="") as file:
        items = ((key, int(total)) for key, total in csv.reader(file))
        writer = SavepointWriter.new_savepoint("running-total").with_operator("total", TOTAL, items)
        return writer.write(Path(folder, "savepoints"))


def _report(what: str, keys: int, seconds: float) -> None:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"{what:10}{keys:,} keys in {seconds:.2f} s: {keys / seconds:,.0f} keys/s, peak {peak_mb:.0f} MB")


if __name__ == "__main__":
    sys.exit(main())
