import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from recprune.backtest.stream import Stream
from recprune.backtest.trial import Trial, replay
from recprune.backtest.work import Workshop
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.model.checkpoint import load_lines
from recprune.pruning.control import Control
from recprune.pruning.policy import Adapted, Lines, Policy, Today
from tests.backtest.streams import Log, told, trial_of
from tests.networks import same

SHORT = [trial_of(text, days=4) for text in ("set", "fixed_mask", "dense")]


@dataclass(frozen=True, kw_only=True)
class Broken(Policy):
    """Fails as no policy should."""

    error: type[Exception] = ZeroDivisionError

    def adapt(self, lines: Lines, control: Control, today: Today) -> Adapted:
        raise self.error("of the policy's own")


@dataclass(frozen=True, kw_only=True)
class Slow(Policy):
    """Takes its time."""

    def adapt(self, lines: Lines, control: Control, today: Today) -> Adapted:
        time.sleep(60)
        return super().adapt(lines, control, today)


def with_policy(policy: Policy) -> Trial:
    trial = trial_of("fixed_mask", days=6)
    return replace(trial, chosen=replace(trial.chosen, text="own", policy=policy))


@pytest.fixture(scope="module")
def log() -> Log:
    return Log()


@pytest.fixture(scope="module")
def shop(stream: Stream, log: Log, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("shop"))
    with Workshop(stream, Path("trials"), 2, log) as opened:
        yield opened
    os.chdir(before)


def test_workers_find_what_this_process_finds_in_the_order_asked(stream: Stream, shop: Workshop, log: Log) -> None:
    before = log.done
    records = shop.run([*SHORT, SHORT[0]])
    assert [told(record) for record in records[:3]] == [
        json.loads(json.dumps(told(replay(stream, trial, lambda _done: None)[0]))) for trial in SHORT
    ]
    assert records[3] == records[0]
    assert log.expected == log.done == before + 3 * 4, "each is run once, and every day counted"


def test_what_was_run_is_not_run_again(shop: Workshop, log: Log) -> None:
    first, files = shop.run(SHORT), sorted(Path("trials").glob("*.json"))
    times, expected = [file.stat().st_mtime_ns for file in files], log.expected
    assert shop.run(SHORT) == first
    assert [file.stat().st_mtime_ns for file in files] == times
    assert log.expected == expected


def test_a_result_lies_beside_all_facts_that_it_follows_from(stream: Stream, shop: Workshop) -> None:
    [record] = shop.run(SHORT[:1])
    found = [json.loads(file.read_text()) for file in Path("trials").glob("*.json")]
    facts = json.loads(json.dumps(SHORT[0].facts(stream)))
    assert [each["record"] for each in found if each["facts"] == facts] == [record]


def test_the_line_that_would_be_served_is_kept_on_demand(stream: Stream, shop: Workshop) -> None:
    shop.run(SHORT)
    assert not shop.line_folder(SHORT[1]).exists()
    shop.run(SHORT, keep=SHORT[1:2])
    assert [shop.line_folder(trial).exists() for trial in SHORT] == [False, True, False]
    kept = load_lines(shop.line_folder(SHORT[1]))[0]["served"]
    assert same(kept, replay(stream, SHORT[1], lambda _done: None)[1])


def test_a_trial_that_breaks_leaves_no_line_and_is_not_run_again(shop: Workshop, log: Log) -> None:
    trial = trial_of("set", days=4, learning_rate=1e30)
    [record] = shop.run([trial], keep=[trial])
    assert record["failed"]
    assert not shop.line_folder(trial).exists()
    expected = log.expected
    assert shop.run([trial], keep=[trial]) == [record]
    assert log.expected == log.done == expected


def test_a_structure_that_does_not_fit_has_failed(shop: Workshop) -> None:
    [record] = shop.run([trial_of("small_dense", family="autoint", days=4)])
    assert record["failed"].startswith("small_dense: no network of shape three that reads all is within ")
    assert record["ne"] == [None] * 4


def test_an_unexpected_error_names_its_trial_and_its_place(shop: Workshop) -> None:
    with pytest.raises(ZeroDivisionError, match="of the policy's own") as caught:
        shop.run([with_policy(Broken())])
    assert caught.value.__notes__ == [f"This happened in the trial {with_policy(Broken()).title()}."]
    assert "in adapt" in str(caught.value.__cause__), "where it happened in the worker"


def test_an_explained_error_names_its_trial_in_its_sentence(shop: Workshop) -> None:
    trial = with_policy(Broken(error=RecpruneError))
    with pytest.raises(RecpruneError) as caught:
        shop.run([trial])
    assert str(caught.value) == f"{trial.title()}: of the policy's own"


def test_a_damaged_result_is_refused_with_a_way_out(shop: Workshop) -> None:
    trial = trial_of("set", days=3)
    shop.run([trial])
    file = shop.line_folder(trial).with_suffix(".json")
    file.write_text("{")
    with pytest.raises(DamagedArtefactError, match=r"; delete it, the same command runs that trial again\.$"):
        shop.run([trial])
    file.unlink()
    shop.run([trial])


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers(pid: int) -> list[int]:
    return [child for child in children(pid) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(what: str, seconds: float = 60) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        time.sleep(0.05)
    raise AssertionError(f"{what} never came")


@pytest.mark.e2e
def test_a_killed_worker_is_told_and_nothing_that_was_finished_is_lost(
    stream: Stream, workspace: Path, shop: Workshop
) -> None:
    class Killer(Log):
        """Kills this test's own worker once it replays."""

        def advance(self, days: int) -> None:
            super().advance(days)
            if self.done > 5 and mine:  # on a busy machine this is asked again before the death is noticed
                os.kill(mine.pop(), signal.SIGKILL)

    others = workers(os.getpid())
    with Workshop(stream, Path("trials"), 1, Killer()) as opened:
        [first] = opened.run(SHORT[:1])
        mine = [pid for pid in workers(os.getpid()) if pid not in others]
        assert len(mine) == 1
        with pytest.raises(RecpruneError) as caught:
            opened.run([SHORT[0], with_policy(Slow())])
    assert str(caught.value) == (
        "a worker process was killed, by someone or because memory ran out (fewer --jobs need less). "
        "What was finished is kept; the same command goes on from there."
    )
    log = Log()
    with Workshop(stream, Path("trials"), 1, log) as again:
        assert again.run(SHORT)[0] == first
        assert log.expected == log.done == 2 * 4


OPEN = """
import sys
from pathlib import Path
from recprune.backtest.stream import open_stream
from recprune.backtest.work import Workshop
from tests.backtest.streams import Log, trial_of
from tests.backtest.test_work import Slow, with_policy

if __name__ == "__main__":
    with Workshop(open_stream(Path(sys.argv[1])), Path("trials"), 2, Log()) as shop:
        shop.run([trial_of("set", days=3)])
        print("begun", flush=True)
        shop.run([with_policy(Slow())])
"""


@pytest.fixture
def parent(stream: Stream, workspace: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process with two workers, one of them in the middle of a long trial and one idle."""
    Path("parent.py").write_text(OPEN)
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "parent.py", str(stream.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    time.sleep(1)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.e2e
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_their_parent_does(parent: "subprocess.Popen[str]", sign: signal.Signals) -> None:
    mine = workers(parent.pid)
    assert mine
    parent.send_signal(sign)
    parent.wait()
    for _ in wait_for("the workers' end", 10):
        if not any(alive(pid) for pid in mine):
            break


@pytest.mark.e2e
def test_ctrl_c_stops_in_the_middle_of_a_trial_without_a_word_of_the_workers(parent: "subprocess.Popen[str]") -> None:
    mine, begun = workers(parent.pid), time.monotonic()
    os.killpg(parent.pid, signal.SIGINT)  # a terminal sends it to all
    printed = parent.communicate(timeout=30)[1]
    assert time.monotonic() - begun < 20
    assert not any(alive(pid) for pid in mine)
    assert printed.count("Traceback") == 1, printed
    assert printed.rstrip().endswith("KeyboardInterrupt")
