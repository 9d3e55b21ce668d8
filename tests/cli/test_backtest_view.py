import pytest

from recprune.cli import backtest_view
from recprune.cli.backtest_view import Bar, fitting, lines, show
from recprune.report.backtest_table import headings, table
from tests.report.backtests import backtest, fail

WHOLE = backtest(policies=("dense", "small_dense", "ads"), budgets=(0.2,))


def widest(rows: list[list[str]]) -> int:
    return max(len(line) for line in lines(rows))


def test_off_a_terminal_the_whole_table_is_printed_on_one_line_a_policy(capsys: pytest.CaptureFixture[str]) -> None:
    show(WHOLE)
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["", "complete-journey: scored days 40, seeds 3"]
    assert all(heading in printed[2] for heading in headings(WHOLE))
    assert set(printed[3]) == {"─"}
    assert [line.split()[0] for line in printed[4:]] == ["dense", "ads", "small_dense"]
    assert sum("policy" in line for line in printed) == 1
    for row, line in zip(table(WHOLE)[1:], printed[4:], strict=True):
        assert all(cell in line for cell in row)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 300])
def test_a_terminal_gets_what_it_has_room_for(width: int) -> None:
    rows = fitting(table(WHOLE), width)
    names = [name.replace("\n", " ") for name in rows[0]]
    assert widest(rows) <= width
    assert {"policy", "budget", "mean NE", "against dense", "against small_dense"} <= set(names)
    assert [name for name in headings(WHOLE) if name in names] == names, "in the table's order"
    assert all(len(row) == len(rows[0]) for row in rows)


def test_what_is_left_out_is_the_least_important() -> None:
    kept = {width: [n.replace("\n", " ") for n in fitting(table(WHOLE), width)[0]] for width in (80, 120, 300)}
    assert kept[300] == headings(WHOLE)
    assert kept[80] == ["policy", "budget", "mean NE", "against dense", "against small_dense", "FLOPs", "batch of 128"]
    assert set(kept[80]) < set(kept[120]) < set(kept[300])


def test_policies_with_settings_are_broken_below_their_name() -> None:
    result = backtest(policies=("dense", "small_dense", "ads:swap=16:guide=own"), budgets=(0.2,))
    rows = fitting(table(result), 80)
    assert "ads\n:swap=16\n:guide=own" in [row[0] for row in rows]
    assert widest(rows) <= 80


def test_intervals_are_broken_below_their_difference() -> None:
    with_small = [row[4] for row in fitting(table(WHOLE), 80)[1:]]
    whole = [row[5] for row in table(WHOLE)[1:]]
    assert with_small == [cell.replace(" (", "\n").replace(" % to", " to").removesuffix(" %)") for cell in whole]


def test_what_was_left_out_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = backtest_view.Terminal(force_terminal=True, width=80, soft_wrap=True)
    monkeypatch.setattr(backtest_view, "out", narrow)
    show(WHOLE)
    printed = capsys.readouterr().out
    assert "Too narrow for seeds, seed spread, detectable, weights, batch of 1, training: see the page." in printed
    assert max(len(line) for line in printed.splitlines()[:-1]) <= 80


def test_few_days_and_failures_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    result = backtest(policies=("dense", "small_dense", "ads"), budgets=(0.2,), days=20)
    fail(result, "ads", 0.2, 2, "2017-03-20: the loss is nan")
    show(result)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [
        "No intervals: 20 scored days are too few, 28 are needed; no difference here is proved.",
        "failed: ads at 20 %, seed 2: 2017-03-20: the loss is nan",
    ]


def test_progress_off_a_terminal_is_told_from_time_to_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(backtest_view.time, "monotonic", lambda: now)
    bar = Bar(None)
    bar.begin("replaying")
    bar.expect(1000)
    for _ in range(40):
        now += 1
        bar.advance(20)
    bar.say("a word")
    assert capsys.readouterr().out.splitlines() == [
        "replaying",
        "100 of 1,000 days, about 45 s left",
        "200 of 1,000 days, about 40 s left",
        "300 of 1,000 days, about 35 s left",
        "400 of 1,000 days, about 30 s left",
        "500 of 1,000 days, about 25 s left",
        "600 of 1,000 days, about 20 s left",
        "700 of 1,000 days, about 15 s left",
        "800 of 1,000 days, about 10 s left",
        "a word",
    ]


def test_a_part_counts_its_days_anew_and_may_grow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(backtest_view.time, "monotonic", lambda: now)
    bar = Bar(None)
    for text in ("tuning", "replaying"):
        bar.begin(text)
        for _ in range(2):
            bar.expect(100)
            now += 3600
            bar.advance(100)
    assert capsys.readouterr().out.splitlines() == [
        "tuning", "100 of 100 days", "200 of 200 days", "replaying", "100 of 100 days", "200 of 200 days",
    ]  # fmt: skip


def test_nothing_is_divided_by_nothing() -> None:
    bar = Bar(None)
    bar.begin("nothing to do")
    bar.expect(0)
    bar.advance(0)
