import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recprune.daily.timed import Timed
from recprune.times import Attempt, Usual, attempts, note, of_day, path, took, usual

AT = datetime(2024, 1, 3, 0, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECPRUNE_RUN", raising=False)


def test_what_is_noted_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_day("2024-01-02") == ()
    note("2024-01-02", "train", AT, 1.234, ValueError("2024-01-01 has no verdict"))
    monkeypatch.setenv("RECPRUNE_RUN", "scheduled__2024-01-03T00:00:00+00:00")
    note("2024-01-02", "train", AT, 4.0)
    of = {"step": "train", "at": "2024-01-03T00:05:00+00:00"}
    failed = Attempt(**of, seconds=1.23, done=False, error="2024-01-01 has no verdict")  # type: ignore[arg-type]
    done = Attempt(**of, seconds=4.0, done=True, run="scheduled__2024-01-03T00:00:00+00:00")  # type: ignore[arg-type]
    assert of_day("2024-01-02") == (failed, done)
    assert took(of_day("2024-01-02")) == {"train": 4.0}


def test_a_line_that_was_cut_off_is_left_out() -> None:
    note("2024-01-02", "train", AT, 4.0)
    whole = path("2024-01-02").read_text(encoding="utf-8")
    (attempt,) = attempts(whole)
    assert attempts(whole + whole[:30]) == (attempt,)
    path("2024-01-02").write_text(whole + whole[:30], encoding="utf-8")
    note("2024-01-02", "train", AT, 4.0)
    assert of_day("2024-01-02") == (attempt, attempt)
    assert attempts("[]\n{}\n" + whole + json.dumps({**json.loads(whole), "seconds": "long"})) == (attempt,)


def test_only_the_last_fourteen_days_that_did_a_step_count() -> None:
    days = [{"train": 100.0}, *[{"train": 2.0, "prune": 1.0}] * 7, {}, *[{"train": 4.0}] * 7]
    assert usual(days) == {"train": Usual(3.0, 2.0, 4.0, 14), "prune": Usual(1.0, 1.0, 1.0, 7)}


class Heard:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        self.steps.append(name)

    def progress(self, done: int, total: int) -> None: ...

    def say(self, line: str) -> None: ...


def test_each_step_is_timed_until_the_next_begins_and_the_one_that_fails_is_told_as_failed() -> None:
    heard = Heard()

    def failing() -> None:
        with Timed("2024-01-02", heard) as timed:
            timed.step("plan")
            timed.step("train")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    with Timed("2024-01-02", heard) as timed:
        timed.begin("store")
    found = [(attempt.step, attempt.done) for attempt in of_day("2024-01-02")]
    assert found == [("plan", True), ("train", False), ("store", True)]
    assert heard.steps == ["plan", "train"]


def test_where_nothing_began_nothing_is_noted() -> None:
    with Timed("2024-01-02", Heard(), "train"):
        pass
    assert not path("2024-01-02").exists()


def test_an_error_before_any_step_began_is_of_the_step_that_was_asked_for() -> None:
    def failing() -> None:
        with Timed("2024-01-02", Heard(), "train"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    (attempt,) = of_day("2024-01-02")
    assert (attempt.step, attempt.done, attempt.error) == ("train", False, "ZeroDivisionError")


def test_times_that_cannot_be_noted_for_another_reason_than_space_are_an_error(tmp_path: Path) -> None:
    (tmp_path / ".recprune").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        note("2024-01-02", "train", AT, 4.0)
