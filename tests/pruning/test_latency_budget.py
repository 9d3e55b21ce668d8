import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.pruning.latency_budget import LatencyBudget, parse_latency_budget

HOW = "; write it like p99 <= 0.4 ms @ 128, that is percentile (p50 or p99), milliseconds or us, rows of a call."


@pytest.mark.parametrize(("text", "statistic", "milliseconds", "batch"), [
    ("p99 <= 0.4 ms @ 128", "p99", 0.4, 128),
    ("p50 <= 80 us @ 1", "p50", 0.08, 1),
    ("p50 <= 80 µs @ 1", "p50", 0.08, 1),
    ("p50 <= 80 \u03bcs @ 1", "p50", 0.08, 1),
    ("p99≤2ms@1024", "p99", 2, 1024),
    ("  p99   <=  1e-1 ms  @  7 ", "p99", 0.1, 7),
])  # fmt: skip
def test_ways_to_write_it(text: str, statistic: str, milliseconds: float, batch: int) -> None:
    found = parse_latency_budget(text)
    assert (found.statistic, found.batch) == (statistic, batch)
    assert found.milliseconds == pytest.approx(milliseconds)


@pytest.mark.parametrize("text", [
    "", "0.4", "p99 0.4 ms @ 128", "p99 < 0.4 ms @ 128", "p99 <= 0.4 ms", "p99 <= 0.4 @ 128", "p99 <= ms @ 128",
    "p99 <= 0.4 ms @ 1.5", "p99 <= -0.4 ms @ 128", "p99 <= 0.4 ms @ 128 rows", "<= 0.4 ms @ 128", "p99 <= 0,4 ms @ 128",
])  # fmt: skip
def test_what_is_no_budget_says_how_one_is_written(text: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_latency_budget(text)
    assert str(error.value) == f"{text!r} is no latency budget{HOW}"


@pytest.mark.parametrize(("text", "problem"), [
    ("p95 <= 0.4 ms @ 128", "p95 is no percentile that is measured"),
    ("P99 <= 0.4 ms @ 128", "P99 is no percentile that is measured"),
    ("p99 <= 0.4 s @ 128", "s is no unit known here"),
    ("p99 <= 0 ms @ 128", "0 is no time above 0"),
    ("p99 <= 0.4.1 ms @ 128", "0.4.1 is no time above 0"),
    ("p99 <= 1e999 ms @ 128", "1e999 is no time above 0"),
    ("p99 <= 0.4 ms @ 0", "a call has 1 row or more"),
    ("max <= 0 s @ 0",
     "max is no percentile that is measured, s is no unit known here, 0 is no time above 0, a call has 1 row or more"),
])  # fmt: skip
def test_every_problem_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_latency_budget(text)
    assert str(error.value) == f"{text!r}: {problem}{HOW}"


@given(st.sampled_from(["p50", "p99"]), st.floats(1e-5, 1e5).map(lambda x: float(f"{x:g}")), st.integers(1, 10**6))
def test_what_is_written_is_read(statistic: str, milliseconds: float, batch: int) -> None:
    budget = LatencyBudget(statistic=statistic, milliseconds=milliseconds, batch=batch)  # type: ignore[arg-type]
    assert parse_latency_budget(str(budget)) == budget


@given(st.text().filter(lambda text: "@" not in text))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no latency budget; write it like p99 <= 0\.4 ms @ 128"):
        parse_latency_budget(text)
