"""The service that mini_flink serves when it is given no job: two maps, no state.

    $ python -m mini_flink serve
    $ curl localhost:7071/event -X POST -d '{"request":"hello"}'
    {"code":200,"msg":"OK","data":{"request":"hello","result":"ok","event_id":"…","request_timestamp":…}}

The first map enriches the event with an id and the time of arrival, the second sets the result and puts the
event into its envelope. ``type_info=Request`` gives the whole request as the value, with its id and time;
without it the value would be the JSON object alone.
"""

from __future__ import annotations

from typing import Any

from mini_flink.datastream import Request, StreamExecutionEnvironment


def enrich(request: Request) -> dict[str, Any]:
    """The event of a request: what was sent, an id that no other request has, and when it arrived."""
    event = request.body if isinstance(request.body, dict) else {"request": request.body}
    return {**event, "result": None, "event_id": request.id, "request_timestamp": request.timestamp}


def answer(event: dict[str, Any]) -> dict[str, Any]:
    """The envelope around the finished event."""
    event["result"] = "ok"
    return {"code": 200, "msg": "OK", "data": event}


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/event", type_info=Request).map(enrich).map(answer).reply()
env.execute("event-service")
