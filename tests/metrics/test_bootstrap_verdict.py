import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.metrics.bootstrap import Comparison, Outcome, Verdict, holm, verdict

UNDECIDED: Outcome = "not decidable at this margin"


def comparison(low: float | None, high: float | None, days: int = 100) -> Comparison:
    """Return a comparison with a chosen interval, r in its middle."""
    middle = None if low is None or high is None else (low + high) / 2
    return Comparison(
        relative=middle,
        low=low,
        high=high,
        standard_error=middle,
        seed_spread=None,
        smallest_effect=None if middle is None else 0.0075,
        p=None,
        days=days,
        left_out=0,
        seeds=1,
        mean_block=7.0,
        draws=np.zeros(0),
    )


def slow_holm(p_values: list[float]) -> list[float]:
    """Reject from the smallest on while p ≤ level / tests left; the adjusted p is the least rejecting level."""
    adjusted = []
    for i in range(len(p_values)):
        order = sorted(range(len(p_values)), key=lambda k: p_values[k])
        upto = order[: order.index(i) + 1]
        adjusted.append(min(1.0, max(p_values[k] * (len(order) - at) for at, k in enumerate(upto))))
    return adjusted


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_the_step_down_rule(p_values: list[float]) -> None:
    found = holm(p_values)
    assert found == pytest.approx(slow_holm(p_values))
    assert all(p <= q <= 1 for p, q in zip(p_values, found, strict=True))
    assert max(found, default=0) <= max(1.0, *p_values, 0.0)
    assert found[::-1] == pytest.approx(holm(p_values[::-1]))


def test_holm_by_hand() -> None:
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm([0.01, 0.02, 0.03, 0.5]) == pytest.approx([0.04, 0.06, 0.06, 0.5])


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_holm_refuses_what_is_no_p_value(p: float) -> None:
    with pytest.raises(ValueError, match=r"p-values \[0.5, .*\]; each must lie in \[0, 1\]"):
        holm([0.5, p])


@pytest.mark.parametrize(
    ("low", "high", "margin", "claims"),
    [
        (-0.03, -0.02, 0.01, ("shown", "shown")),
        (-0.03, -0.01, 0.01, ("shown", UNDECIDED)),
        (-0.03, 0.005, 0.01, ("shown", UNDECIDED)),
        (-0.03, 0.02, 0.01, (UNDECIDED, UNDECIDED)),
        (-0.01, 0.01, 0.01, ("shown", "refuted")),
        (0.005, 0.02, 0.01, (UNDECIDED, "refuted")),
        (0.02, 0.03, 0.01, ("refuted", "refuted")),
        (None, None, 0.01, (UNDECIDED, UNDECIDED)),
    ],
)
def test_verdicts(low: float | None, high: float | None, margin: float, claims: tuple[Outcome, Outcome]) -> None:
    found = comparison(low, high)
    assert (verdict(found, margin).verdict, verdict(found, margin, "superior").verdict) == claims


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (verdict(comparison(-0.03, -0.02), 0.01), "−2.50 % (−3.00 % to −2.00 %) lies at or below +1.00 %."),
        (verdict(comparison(0.02, 0.03), 0.01), "+2.50 % (+2.00 % to +3.00 %) lies above +1.00 %."),
        (
            verdict(comparison(-0.03, -0.02), 0.0, "superior"),
            "−2.50 % (−3.00 % to −2.00 %) lies below 0.",
        ),
        (
            verdict(comparison(-0.005, 0.015), 0.01),
            "+0.50 % (−0.50 % to +1.50 %) holds +1.00 %; 100 days show 0.75 % 4 times in 5.",
        ),
        (verdict(comparison(None, None, 12), 0.01), "12 common days; an interval needs 28."),
    ],
)
def test_the_reason_is_a_sentence_with_the_figures(found: Verdict, reason: str) -> None:
    assert found.reason == reason


def test_a_verdict_is_plain_json() -> None:
    assert list(verdict(comparison(0.0, 0.0), 0.01).to_json()) == ["verdict", "reason"]


def test_a_negative_margin_and_another_claim_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'non-inferior' by a margin of -0\.01; say non-inferior or superior"):
        verdict(comparison(0.0, 0.0), -0.01)
    with pytest.raises(ValueError, match="'better' by a margin of 0"):
        verdict(comparison(0.0, 0.0), 0.0, "better")  # type: ignore[arg-type]
