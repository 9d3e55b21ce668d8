import pytest

from benchmarks.ladder.figures import Times, by_turns, ratio


def test_everyone_has_a_turn_after_the_other_and_the_first_turns_do_not_count() -> None:
    seen: list[tuple[str, int]] = []
    times = by_turns({name: lambda turn, name=name: seen.append((name, turn)) for name in ("a", "b")}, 0.0, least=2)
    assert seen == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert {name: (len(found.wall), len(found.processor)) for name, found in times.items()} == {
        "a": (2, 2),
        "b": (2, 2),
    }


def test_a_ratio_is_the_median_of_those_of_the_turns() -> None:
    times = {"ours": Times([1.0, 2.0, 1.0], [1.0, 1.0, 1.0]), "theirs": Times([2.0, 6.0, 50.0], [4.0, 2.0, 3.0])}
    assert ratio(times, "ours", "theirs") == pytest.approx(3.0)
    assert ratio(times, "ours", "theirs", "processor") == pytest.approx(3.0)
    assert ratio(times, "theirs", "ours") == pytest.approx(1 / 3)
