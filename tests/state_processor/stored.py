"""What lies in a savepoint's files, whoever has numbered its operators and states."""

from __future__ import annotations

from mini_flink.snapshots.catalog import find
from mini_flink.snapshots.chain import PartReader
from mini_flink.state import layout
from mini_flink.state.layout import STATE_PREFIX_BYTES
from mini_flink.state_processor.existing import registry

Place = tuple[str, str, int, bytes]
"""An operator's uid, a state's name, a key group, and what follows in the stored key."""


def parts_of(path: str) -> list[PartReader]:
    store, manifest = find(path, "/", "/")
    return [PartReader(store, part) for part in manifest.parts]


def state_items(path: str) -> dict[Place, bytes]:
    """All items of all states."""
    _, manifest = find(path, "/", "/")
    uids = {number: uid for uid, number in manifest.operators.items()}
    found: dict[Place, bytes] = {}
    for part in parts_of(path):
        names = {(entry.operator, entry.number): entry.name for entry in registry(part)}
        for key, value in part.scan(layout.STATE):
            group, operator, number = layout.split_state_prefix(key[:STATE_PREFIX_BYTES])
            place = (uids[operator], names[operator, number], group, key[STATE_PREFIX_BYTES:])
            assert place not in found
            found[place] = value
    return found


def channels(path: str) -> list[dict[bytes, bytes]]:
    """Positions and undelivered records of each worker, without the epoch."""
    return [
        {key: value for key, value in part.range(layout.META, layout.STATE) if layout.is_of_channels(key)}
        | {layout.EPOCH: b""}
        for part in parts_of(path)
    ]
