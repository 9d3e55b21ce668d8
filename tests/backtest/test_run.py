import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recprune.backtest.run import Asked, back_test
from recprune.data.sources.simulator import SimulatorSource
from recprune.errors import BusyError, RecpruneError, SettingsError
from recprune.settings import Settings
from tests.backtest.streams import DAYS, ListedSource, Log, simulator, tiny

Json = dict[str, Any]
POLICIES = ("dense", "small_dense:top=one", "ads")
FIRST = 8
ASKED = Asked(
    title="a title", policies=POLICIES, budgets=(0.7, 0.4), seeds=2, tuned=False, jobs=1, out=Path("out"),
    command=("recprune", "backtest", "--source", "simulator:ids"),
)  # fmt: skip


def run(view: Log | None = None, settings: Settings | None = None, days: list[str] = DAYS, **changes: Any) -> Json:
    """Run a back-test of the tiny stream."""
    source = SimulatorSource(simulator())
    asked = replace(ASKED, **changes)
    return back_test(settings or tiny(), source, days, asked, Path("scratch/streams/tiny"), view or Log())


def lasting(result: Json) -> Json:
    """Return a result without what clocks say."""
    measured = ("train_seconds", "latency_us", "latency_int8_us")
    trials = [{k: v for k, v in trial.items() if k not in measured} for trial in result["trials"]]
    return result | {"trials": trials}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Json, Log, Path]]:
    """A finished back-test, what was told, and where it lies."""
    before, log = Path.cwd(), Log()
    folder = tmp_path_factory.mktemp("ran")
    os.chdir(folder)
    yield run(log, jobs=2), log, folder
    os.chdir(before)


def test_the_result_says_what_was_run(ran: tuple[Json, Log, Path]) -> None:
    result, _, folder = ran
    facts = ("format", "title", "source", "model", "first", "last", "tuned_until", "budgets", "cost", "seeds")
    assert {name: result[name] for name in facts} == {
        "format": 2, "title": "a title", "source": "simulator", "model": "dlrm", "first": DAYS[0], "last": DAYS[-1],
        "tuned_until": DAYS[FIRST - 1], "budgets": [0.7, 0.4], "cost": "flops", "seeds": [1, 2],
    }  # fmt: skip
    assert result["command"] == shlex.join(ASKED.command)
    assert (result["days"], result["rows"]) == (DAYS[FIRST:], [200] * (len(DAYS) - FIRST))
    assert (result["not_tried"], result["tuning"]) == ([], [])
    assert json.loads((folder / "out/result.json").read_text()) == result
    for name in ("index.html", "result.md", "pareto.svg"):
        assert "a title" in (folder / "out" / name).read_text()


def test_every_policy_has_every_budget_and_seed_and_dense_one_budget(ran: tuple[Json, Log, Path]) -> None:
    trials = ran[0]["trials"]
    expected = {(p, b, s) for p in POLICIES[1:] for b in (0.7, 0.4) for s in (1, 2)} | {
        ("dense", 1.0, s) for s in (1, 2)
    }
    assert len(trials) == len(expected)
    assert {(t["policy"], t["budget"], t["seed"]) for t in trials} == expected
    assert all(len(t["ne"]) == len(DAYS) - FIRST and None not in t["ne"] for t in trials)
    assert all(max(t["cost_share"]) <= t["budget"] for t in trials)


def test_latency_is_measured_of_the_first_seeds_networks(ran: tuple[Json, Log, Path]) -> None:
    for trial in ran[0]["trials"]:
        for key in ("latency_us", "latency_int8_us"):
            assert (trial[key] is not None) == (trial["seed"] == 1)
    assert all(list(t["latency_us"]) == ["1", "128"] for t in ran[0]["trials"] if t["seed"] == 1)


def test_what_is_done_is_told(ran: tuple[Json, Log, Path]) -> None:
    _, log, _ = ran
    assert log.said == [
        "small_dense is not among --policies: nothing is compared with it.",
        "decoding 14 days of simulator",
        "replaying 5 policies and budgets, seeds each: 2",
        "measuring latency",
    ]
    assert log.expected == log.done == 14 + 2 * 5 * 14


def test_the_same_command_gives_the_same_numbers_and_does_nothing_again(ran: tuple[Json, Log, Path]) -> None:
    log = Log()
    assert lasting(run(log)) == lasting(ran[0])
    assert log.expected == 0


def test_one_process_finds_what_two_find(ran: tuple[Json, Log, Path]) -> None:
    result = run(out=Path("alone"), policies=("dense", "ads"), seeds=1)
    mine = [t for t in lasting(ran[0])["trials"] if t["policy"] in ("dense", "ads") and t["seed"] == 1]
    assert lasting(result)["trials"] == mine


def test_trials_that_break_are_shown_and_compared_with_nobody(ran: tuple[Json, Log, Path]) -> None:
    broken = tiny(train={"learning_rate": 1e30})
    result = run(settings=broken, policies=("dense", "set"), budgets=(0.7,), seeds=1, out=Path("broken"))
    assert all(re.match(r"2024-01-\d\d: the loss is ", t["failed"]) for t in result["trials"])
    assert result["comparisons"] == []
    assert all(t["latency_us"] is None for t in result["trials"])
    assert "A failed trial counts nowhere else on this page." in Path("broken/index.html").read_text()


def test_too_few_days_are_said_before_anything_is_done(workspace: Path) -> None:
    told = (
        "8 days with events are too few: the first 8 only tune, none would be left to score; ask for more days "
        "(--from, --to)."
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        run(days=DAYS[:8])
    assert list(Path().iterdir()) == []


def test_too_few_days_with_events_are_said_once_they_are_counted(workspace: Path) -> None:
    source, log = ListedSource(dict.fromkeys(DAYS[:6], 20)), Log()
    with pytest.raises(SettingsError, match=r"^6 days with events are too few: the first 8 only tune, "):
        back_test(tiny(), source, DAYS, ASKED, Path("scratch/streams/listed"), log)
    assert log.said[-1:] == [
        "8 of 14 days have no events and are left out: 2024-01-07, 2024-01-08, 2024-01-09, …",
    ]


def test_what_cannot_be_is_said_for_all_policies_and_budgets_before_anything_is_done(workspace: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        run(budgets=(0.7, 0.05), policies=("dense", "ads", "small_dense"), settings=tiny(prune={"min_inputs": 0.9}))
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("ads at --budget 0.05, small_dense at --budget 0.05: prune.budget is 0.05, ")
    with pytest.raises(SettingsError, match=r"^small_dense at --budget 0\.5: small_dense: no network of shape three "):
        run(budgets=(0.5,), policies=("ads", "small_dense"), settings=tiny(model={"family": "autoint"}))
    with pytest.raises(SettingsError, match=r"^--policies: 'adz' is not a policy; "):
        run(policies=("dense", "adz"))
    with pytest.raises(
        SettingsError, match=r"^--policies and --budget must name at least one policy and one budget\.$"
    ):
        run(policies=())
    assert list(Path().iterdir()) == []


@pytest.mark.e2e
def test_scored_days_begin_after_the_slowest_carving(workspace: Path) -> None:
    result = run(policies=("small_dense:top=one", "fixed_mask:carve_days=3"), budgets=(0.4,), seeds=1)
    assert result["tuned_until"] == DAYS[FIRST]
    assert all(max(t["cost_share"]) <= 0.4 for t in result["trials"])


class Curious(Log):
    """Asks for the same folder while a back-test works there."""

    error: RecpruneError | None = None

    def begin(self, text: str) -> None:
        super().begin(text)
        try:
            run(policies=("set",), seeds=1)
        except RecpruneError as error:
            self.error = error


def test_a_second_back_test_in_the_same_folder_is_refused(workspace: Path) -> None:
    view = Curious()
    with pytest.raises(SettingsError):  # too few days with events, so that it ends soon
        back_test(tiny(), ListedSource({DAYS[0]: 20}), DAYS, ASKED, Path("scratch/streams/listed"), view)
    assert isinstance(view.error, BusyError)
    assert str(view.error) == (
        f"out: `recprune backtest --source simulator:ids` (process {os.getpid()}) writes there. Two at once would do "
        "the same work twice; wait until it has ended, or choose another --out."
    )


DECODING = """
import time
from recprune.lock import hold

with hold("stream-listed", "recprune backtest, decoding", wait=False):
    print("held", flush=True)
    time.sleep(2)
"""


def test_a_stream_that_another_back_test_decodes_is_waited_for(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = subprocess.Popen([sys.executable, "-c", DECODING], stdout=subprocess.PIPE, text=True)
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    with pytest.raises(SettingsError):  # too few days with events, so that it ends soon
        back_test(tiny(), ListedSource({DAYS[0]: 20}), DAYS, ASKED, Path("scratch/streams/listed"), Log())
    told = f"`recprune backtest, decoding` (process {other.pid}) still works here; waiting for it to end.\n"
    assert capsys.readouterr().err == told
    other.communicate()
    assert Path("scratch/streams/listed/manifest.json").is_file()


def test_another_disk_is_refused(workspace: Path) -> None:
    other = Path(f"/dev/shm/recprune-{os.getpid()}")
    try:
        with pytest.raises(SettingsError, match=rf"^--out {other} lies on another disk than the current directory, "):
            run(out=other)
    finally:
        other.rmdir()
