"""What is said: the banner, the line to try, deaths."""

from __future__ import annotations

import pytest

from mini_flink.datastream import StreamExecutionEnvironment
from mini_flink.datastream.request import Request
from mini_flink.execution import executing_with
from mini_flink.graph import JobGraph
from mini_flink.supervisor import words

URL = "http://127.0.0.1:7072"


def job(*sources: tuple[str, object, type | None]) -> JobGraph:
    graphs: list[JobGraph] = []
    with executing_with(graphs.append):
        env = StreamExecutionEnvironment.get_execution_environment()
        for path, methods, type_info in sources:
            env.from_requests(path, methods, type_info=type_info).reply()
        env.execute("orders")
    return graphs[0]


def facts(**changes: object) -> words.Started:
    known = {
        "version": "0.1.0",
        "graph": job(("/total", "POST", None)),
        "job_doc": "",
        "url": URL,
        "workers": 2,
        "gateways": 1,
        "durability": "disk",
        "data_dir": "/srv/orders",
        "is_new": True,
        "redone": 0,
        "seconds": 0.6,
    }
    return words.Started(**(known | changes))


def test_the_banner() -> None:
    first, *rest = words.banner(facts()).splitlines()
    assert first.startswith("mini_flink 0.1.0   orders   test_words.py:")
    assert first.endswith("   2 steps, 2 workers, 1 gateway")
    assert rest == [
        f"  Ready   {URL}   POST /total   in 0.6 s",
        f"  Try     curl '{URL}/total' -d '{{}}'",
        "  State   /srv/orders   survives kill -9 and power cuts, new",
        "  Stop    Ctrl-C",
    ]
    again = words.banner(facts(durability="process", is_new=False, redone=1))
    assert "survives kill -9, but no power cut, continued, 1 commit redone" in again
    assert "power cuts, restored from 00c0ffee-000012\n" in words.banner(facts(restored="00c0ffee-000012"))


@pytest.mark.parametrize(
    ("path", "methods", "type_info", "line"),
    [
        ("/a", "POST", bytes, f"curl '{URL}/a' -d 'hello'"),
        ("/a", ["GET", "POST"], None, f"curl '{URL}/a' -d '{{}}'"),
        ("/a/{key}/{n:int}", "GET", None, f"curl '{URL}/a/x/1'"),
        ("/a", "PUT", Request, f"curl '{URL}/a' -X PUT -d '{{}}'"),
        ("/a", "DELETE", None, f"curl '{URL}/a' -X DELETE"),
    ],
)
def test_the_line_to_try_fits_the_route(path: str, methods: object, type_info: type, line: str) -> None:
    assert words.curl_line(job((path, methods, type_info)), "", URL) == line


@pytest.mark.parametrize(
    ("doc", "line"),
    [
        (
            "Adds up.\n\n    curl localhost:7071/total -d '{\"a\": 1}'\n    curl other",
            f"curl {URL}/total -d '{{\"a\": 1}}'",
        ),
        ("$ curl http://127.0.0.1:7071/total", f"curl {URL}/total"),
        ("    curl -s \\\n      localhost:7071/x\n", f"curl -s {URL}/x"),
        ("Use curl to try it.", f"curl '{URL}/total' -d '{{}}'"),
    ],
)
def test_the_jobs_own_line_is_shown_with_the_real_address(doc: str, line: str) -> None:
    assert words.curl_line(job(("/total", "POST", None)), doc, URL) == line


def test_many_routes_are_cut() -> None:
    graph = job(*((f"/r{index}", "POST", None) for index in range(6)))
    assert words.routes(graph) == "POST /r0, POST /r1, POST /r2, POST /r3 and 2 more"


def test_a_death_in_two_lines() -> None:
    assert words.died("worker 1", 43, "SIGKILL", 3) == "worker 1 (pid 43) died: SIGKILL   3 requests wait"
    assert words.died("gateway 0", 43, "SIGSEGV", 1).endswith("died: SIGSEGV   1 request waits")
    back = words.came_back("worker 1", 44, 0.312, 214)
    assert back == "worker 1 is back (pid 44) after 0.31 s   214 commits redone"


@pytest.mark.parametrize(
    ("state", "waiting_for", "line"),
    [
        ("serving", [], "serving http://x, 2 workers, 1 gateway"),
        ("serving (rescale: copy)", [], "serving http://x, 2 workers, 1 gateway, rescale: copy"),
        ("drained", [], "drained: http://x answers 503, 2 workers, 1 gateway"),
        (
            "draining",
            ["worker 0"],
            "draining: http://x answers 503, 2 workers, 1 gateway: waiting for worker 0",
        ),
        ("stopping", ["worker 0"], "stopping: waiting for worker 0"),
    ],
)
def test_the_line_for_the_service_manager(state: str, waiting_for: list[str], line: str) -> None:
    assert words.status_line(state, "http://x", waiting_for=waiting_for, workers=2, gateways=1) == line


def test_what_a_stuck_process_is_at() -> None:
    assert words.hung("stopped", 2.4, "") == "stopped for 2 s"
    assert words.hung("busy with one record", 10, "total") == "busy with one record for 10 s in total"


def test_the_try_line_has_the_fields_that_the_job_reads() -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    stream = env.from_requests("/total").key_by(lambda value: value["key"])
    stream.map(lambda value: {"sum": value["amount"] + value["it's"]}).reply()
    graphs: list[JobGraph] = []
    with executing_with(graphs.append):
        env.execute("fields")
    line = words.curl_line(graphs[0], "", URL)
    assert line == f'curl \'{URL}/total\' -d \'{{"key":1,"amount":1,"it\\u0027s":1}}\''


def test_a_quoted_command_over_several_lines_stays_whole() -> None:
    doc = "curl localhost:7071/total -d '{\n    \"a\": 1}'\nand more"
    assert words.curl_line(job(("/total", "POST", None)), doc, URL) == f"curl {URL}/total -d '{{ \"a\": 1}}'"
