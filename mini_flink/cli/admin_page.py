"""The admin process of the server on a data folder, asked over HTTP as its page asks it: ``GET`` only."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from mini_flink.asking import UnavailableError, running
from mini_flink.errors import ConfigError

ANSWER_S = 3.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared only


class AdminPage:
    """``get`` reads; a connection stays open from one question to the next."""

    def __init__(self, data_dir: str, token: str = "") -> None:
        self._data_dir = data_dir
        self._token = token
        self._connection: http.client.HTTPConnection | None = None
        self.url = _url_of(data_dir)

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a question; UnavailableError if there is none, ConfigError if a token is wanted."""
        try:
            answer = self._answer(path)
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self.url = _url_of(self._data_dir)  # a server that was started again may have another one
            raise UnavailableError(f"{self.url} does not answer: {error or type(error).__name__}") from error
        if answer.status == 401:
            raise self._token_wanted()
        if answer.status != 200:
            raise UnavailableError(f"{self.url}{path} answers with {answer.status}: {_detail(body)}")
        found: dict[str, Any] = json.loads(body)
        return found

    def _answer(self, path: str) -> http.client.HTTPResponse:
        if self._connection is None:
            place = urlsplit(self.url)
            host = place.hostname or ""
            # A proxy of the environment is not asked: the page is this host's, or the operator's own.
            self._connection = http.client.HTTPConnection(
                _ANYWHERE.get(host, host), place.port, timeout=ANSWER_S
            )
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        self._connection.request("GET", path, headers=headers)
        return self._connection.getresponse()

    def _token_wanted(self) -> ConfigError:
        if self._token:
            return ConfigError(
                f"{self.url} wants another token than that of --admin-token-file",
                help="name the file that its server was started with",
            )
        return ConfigError(
            f"{self.url} wants a token", help="name the file that holds it: --admin-token-file FILE"
        )

    def close(self) -> None:
        """Let go of the connection; the next question opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _url_of(data_dir: str) -> str:
    url = running(data_dir).get("admin_url")
    if not url:
        raise UnavailableError(
            f"the server on {data_dir} has no admin process to ask: the setting admin is off",
            help="start it without --no-admin; `python -m mini_flink status` asks the server itself",
        )
    return str(url)


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
