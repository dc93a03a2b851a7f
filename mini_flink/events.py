"""The names of what the server says of itself: one table, from name to meaning.

A name is for programs that read the log; it stays when the words beside it change. A test checks that
whatever is said in the package has a name of this table. Nothing here speaks: ``console`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

USER_OUTPUT = "user.output"


class Say(Protocol):
    """Says something to people: ``console.event``, or what stands in its place without a server."""

    def __call__(self, level: str, text: str, /, *, name: str = "", plain: str = "", **fields: Any) -> None:
        """See ``console.event``."""


EVENTS: Mapping[str, str] = {
    USER_OUTPUT: "one line that the job printed or logged; operator and request if it was within a record",
    "start.refused": "serve does not start; error and exit_code say why",
    "start.waiting": "the server is not ready yet; processes it waits for",
    "start.warned": "it starts, and something of the job may become a mistake later",
    "server.ready": "requests are served at url",
    "server.draining": "an operator has closed the door; pending requests are answered first",
    "server.drained": "all is answered and committed; the server stays, with the door closed",
    "server.resumed": "requests are let in again",
    "server.stopping": "no new requests; pending ones are answered first",
    "server.stopped": "shut-down is done",
    "server.cut_short": "shut-down was not waited for",
    "server.failed": "the server ends: starting a process again will not help",
    "folder.served_from_other": "the folder was last served from another job",
    "folder.not_marked": "that the folder was left cleanly could not be written",
    "state.progress": "how far a move of the state is",
    "state.moved": "the state was moved to where workers or job have it now",
    "snapshot.completed": "a snapshot or savepoint can be restored from now on",
    "snapshot.failed": "a snapshot came to nothing, the service goes on",
    "snapshot.waits": "one is due, and cannot begin while the server is rescaled, upgraded or reloaded",
    "snapshot.damaged": "a snapshot is passed over",
    "snapshot.verifying": "a large snapshot is read from end to end",
    "restore.drops": "a restore takes the place of newer state",
    "restore.power_cut": "after a power cut everything goes back to a snapshot",
    "changeover.begun": "a rescale or an upgrade has begun",
    "changeover.ended": "it is done",
    "changeover.failed": "it came to nothing, the server goes on as it was",
    "worker.died": "a worker ended, and is started again",
    "worker.back": "it serves again",
    "worker.failed": "a worker cannot go on; it ends",
    "gateway.died": "a gateway ended, and is started again",
    "gateway.back": "it serves again",
    "gateway.failed": "a gateway cannot go on; it ends",
    "admin.died": "the admin process ended, and is started again; requests are served as before",
    "admin.failed": "a request at the admin address was answered with 500, for a bug of mini_flink",
    "operation.begun": "somebody asked for a change at the admin address",
    "operation.ended": "what became of it",
    "process.waits": "a process cannot be started yet, for want of space",
    "process.crashed": "a process or thread ended with an error of its own",
    "process.place": "where a process that hangs is in the user's code",
    "hang.warned": "a process is busy with one record, or stopped, for long",
    "reload.begun": "under --dev: a file of the job was saved, its new version is loaded",
    "reload.slow": "under --dev: the new version still loads; a save calls it off and begins anew",
    "reload.waiting": "under --dev: the job does not load, its files are watched for a change",
    "request.answered": "under --dev, on a terminal: a request and its answer",
    "record.failed": "a record failed and is a dead letter under error_id",
    "record.failed_again": "how many more records failed in the same way",
    "dead_letters.settled": "an operator had dead letters retried or dropped",
    "reply.extra": "an operator replied to a request that was answered already",
    "storage.full": "no space: nothing is taken in, nothing is lost",
    "storage.free": "there is space again",
    "metrics.unpublished": "a process has more metrics than are published",
    "traces.lost": "spans did not reach the collector; requests are served as before",
    "message.unknown": "a message between processes was not understood",
}

SHOWN: Mapping[str, str] = {
    "server.ready": "serving",
    "server.draining": "draining",
    "server.drained": "drained",
    "server.resumed": "resumed",
    "server.stopping": "stopping",
    "snapshot.completed": "snapshot",
    "snapshot.failed": "snapshot_failed",
    "snapshot.waits": "snapshot_waits",
    "dead_letters.settled": "dead_letters",
    "changeover.begun": "change",
    "changeover.ended": "change",
    "changeover.failed": "change",
    "worker.died": "died",
    "worker.back": "back",
    "gateway.died": "died",
    "gateway.back": "back",
}
"""Those that the supervisor keeps for whoever looks later, and the short word that they are shown by."""
