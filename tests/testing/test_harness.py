"""``JobHarness`` as somebody uses it for a job of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mini_flink.datastream import MapFunction, StreamExecutionEnvironment
from mini_flink.errors import ConfigError, JobError
from mini_flink.testing import JobHarness
from tests.testing import jobs

JOB_FILE = """
import sys
from mini_flink.datastream import StreamExecutionEnvironment
from shop_prices import PRICES

assert __name__ == "__main__"
env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/price").map(lambda value: PRICES[value["item"]] * int(sys.argv[1])).reply()
env.execute("prices")
"""


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    (tmp_path / "shop_prices.py").write_text('PRICES = {"tea": 5}\n')
    (tmp_path / "job.py").write_text(JOB_FILE)
    return tmp_path / "job.py"


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_total_survives_crashes(workers: int) -> None:
    with JobHarness(jobs.total, workers=workers) as job:
        for turn in range(1, 4):
            for key in "abcdef":
                reply = job.post("/total", {"key": key, "amount": turn})
                assert reply.json() == {"key": key, "total": turn * (turn + 1) // 2}
            job.crash(worker=turn % workers)
        job.crash()
        assert job.post("/total", {"key": "a", "amount": 0}).json() == {"key": "a", "total": 6}


def test_durability_process_survives_a_crash_too() -> None:
    with JobHarness(jobs.total, durability="process") as job:
        job.post("/total", {"key": "a", "amount": 3})
        job.crash()
        assert job.post("/total", {"key": "a", "amount": 4}).json()["total"] == 7


def test_a_record_that_raises_changes_nothing_and_is_told_in_full() -> None:
    with JobHarness(jobs.total) as job:
        job.post("/total", {"key": "a", "amount": 3})
        failed = job.post("/total", {"key": "a", "amount": -1})
        assert failed.status == 500
        assert failed.headers["content-type"] == "application/problem+json"
        problem = failed.json()
        assert (problem["operator"], problem["code"]) == ("total", "record-failed")
        (told,) = job.log
        assert told.startswith("ValueError: amounts are not negative in operator total\n")
        assert "jobs.py" in told
        assert problem["error_id"] in told
        job.crash()
        assert job.post("/total", {"key": "a", "amount": 4}).json()["total"] == 7


def test_a_key_selector_that_raises() -> None:
    with JobHarness(jobs.total, workers=2) as job:
        assert job.post("/total", {"amount": 1}).status == 500
        assert "KeyError: 'key' in operator total" in job.log[0]


def test_methods_statuses_headers_and_bodies() -> None:
    with JobHarness(jobs.shop, workers=2) as job:
        assert job.get("/items/41").json() == {"number": 42}
        created = job.post("/orders", {"item": "tea"})
        assert (created.status, created.headers["location"], created.json()) == (201, "/orders/7", {"id": 7})
        note = job.request("POST", "/notes", body=b"a note")
        assert (note.status, note.headers["content-type"], note.body) == (200, "text/plain", b"a note")
        assert job.request("POST", "/notes", body=b"quiet").status == 204


def test_what_is_refused_at_the_door() -> None:
    with JobHarness(jobs.shop, max_body_bytes=1000) as job:
        assert job.get("/nowhere").status == 404
        refused = job.get("/orders")
        assert (refused.status, refused.headers["allow"]) == (405, "POST")
        bad = job.request("POST", "/orders", body=b'{"item": }')
        assert (bad.status, bad.json()["line"], bad.json()["column"]) == (400, 1, 10)
        assert job.get("/healthz").status == 200


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("path", ["/nap", "/rest"])
def test_a_reply_that_comes_too_late(path: str, workers: int) -> None:
    with JobHarness(jobs.slow, workers=workers, request_timeout_ms=50) as job:
        late = job.post(path, {"seconds": 0.1})
        assert (late.status, late.json()["code"]) == (504, "timeout")
        job.run_until_idle()
        assert job.post(path, {"seconds": 0}).json() == 0


def test_a_body_over_the_limit() -> None:
    with JobHarness(jobs.shop, max_body_bytes=1024) as job:
        assert job.request("POST", "/notes", body=b"x" * 1024).status == 200
        refused = job.request("POST", "/notes", body=b"x" * 1025)
        assert (refused.status, refused.json()["status"]) == (413, 413)
        assert refused.headers["content-type"] == "application/problem+json"


def test_from_a_file_with_arguments(job_file: Path) -> None:
    main, argv, path = sys.modules["__main__"], list(sys.argv), list(sys.path)
    with JobHarness(str(job_file), "3") as job:
        assert job.post("/price", {"item": "tea"}).json() == 15
    with JobHarness(job_file, "2") as job:
        assert job.post("/price", {"item": "tea"}).json() == 10
    assert (sys.modules["__main__"], sys.argv, sys.path) == (main, argv, path)
    sys.modules.pop("shop_prices", None)


@pytest.mark.parametrize("name", ["event_service", "running_total", "risk_engine"])
def test_from_a_module(name: str) -> None:
    with JobHarness(f"mini_flink.examples.{name}", workers=2) as job:
        assert job.get("/readyz").status == 200


def test_two_harnesses_side_by_side() -> None:
    with JobHarness(jobs.total) as one, JobHarness(jobs.total) as other:
        one.post("/total", {"key": "a", "amount": 1})
        assert other.post("/total", {"key": "a", "amount": 10}).json()["total"] == 10
        assert one.post("/total", {"key": "a", "amount": 1}).json()["total"] == 2


def no_graph() -> None:
    """Builds nothing."""


def no_key() -> None:
    from mini_flink.datastream import StreamExecutionEnvironment

    env = StreamExecutionEnvironment.get_execution_environment()
    env.from_requests("/total").process(jobs.Total()).reply()
    env.execute("total")


def test_a_job_that_cannot_be_built_raises_with_the_users_line(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="builds no graph"):
        JobHarness(no_graph)
    with pytest.raises(JobError) as unkeyed:
        JobHarness(no_key)
    assert unkeyed.value.help
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_like_this\n")
    with pytest.raises(JobError, match="nothing_like_this") as failure:
        JobHarness(broken)
    assert failure.value.location is not None
    assert failure.value.location.line == 1
    with pytest.raises(JobError, match="no file"):
        JobHarness(tmp_path / "missing.py")


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"prot": 1}, "unknown setting 'prot'", "port"),
        ({"durability": "dsik"}, "durability = 'dsik'", ""),
        ({"batch_records": -1}, "batch_records = -1", ""),
        ({"full_trace": 7}, "full_trace = 7", ""),
        ({"workers": "a"}, "workers = 'a'", ""),
        ({"workers": 0}, "workers = 0", ""),
    ],
)
def test_an_unknown_or_bad_setting_is_refused(settings: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        JobHarness(jobs.total, **settings)
    assert hint in caught.value.help


def test_after_an_error_the_next_harness_works(tmp_path: Path) -> None:
    with pytest.raises(JobError):
        JobHarness(tmp_path / "missing.py")
    with JobHarness(jobs.total) as job:
        assert job.post("/total", {"key": "a", "amount": 1}).status == 200


def test_no_record_is_run_by_functions_that_are_closed() -> None:
    class Closing(MapFunction):  # type: ignore[type-arg]
        closed = False

        def close(self) -> None:
            self.closed = True

        def map(self, value: int) -> int:
            if self.closed:
                raise RuntimeError("closed")
            return value

    def build() -> None:
        env = StreamExecutionEnvironment.get_execution_environment()
        env.from_collection(list(range(3000))).map(Closing()).print()
        env.execute("closing")

    with JobHarness(build) as job:
        """It has not come to its elements when it is closed."""
    assert job.log == []
