"""What only the transport between real processes has: paths in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mini_flink.errors import ConfigError
from mini_flink.transport.base import ipc_endpoint
from mini_flink.transport.zmq import MAX_IPC_PATH_BYTES, ZmqTransport


def test_the_socket_is_gone_after_close(tmp_path: Path) -> None:
    transport = ZmqTransport()
    transport.bind(ipc_endpoint(str(tmp_path), "w0", 1))
    assert (tmp_path / "w0.1").exists()
    transport.close()
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_too_long_is_refused_by_name(tmp_path: Path) -> None:
    folder = str(tmp_path) + "/" + "d" * MAX_IPC_PATH_BYTES
    transport = ZmqTransport()
    try:
        for open_endpoint in (transport.bind, lambda endpoint: transport.connect("w0", endpoint)):
            with pytest.raises(ConfigError, match=r"the system allows 107") as refused:
                open_endpoint(ipc_endpoint(folder, "w0", 1))
            assert "--runtime-dir" in refused.value.help
    finally:
        transport.close()
