import torch

from recprune.training.incremental import learn
from recprune.training.together import learn_together
from tests.networks import TRAIN, events_for, line_of, same, shape_of


def test_side_by_side_gives_the_bytes_of_one_after_the_other() -> None:
    shapes = [shape_of(3, 1), shape_of(3, 1, top=(2, 2)), shape_of(3, 1, family="dcn")]
    lines = {f"line{n}": line_of(shape, n) for n, shape in enumerate(shapes)}
    events = events_for(lines["line0"], 200)
    alone = {name: line.copy() for name, line in lines.items()}
    for line in alone.values():
        learn(line, events, TRAIN, 5)
    seen: list[int] = []
    assert learn_together(lines, events, TRAIN, 5, seen.append) == {}
    assert all(same(lines[name], alone[name]) for name in lines)
    assert seen == sorted(seen)
    assert 0 <= seen[-1] <= 3 * 200


def test_a_line_that_breaks_is_named_and_harms_no_other() -> None:
    good, bad = line_of(shape_of(2, 1)), line_of(shape_of(2, 1))
    bad.weights["top.0.weight"][0, 0] = torch.nan
    events, alone = events_for(good, 40), good.copy()
    learn(alone, events, TRAIN, 1)
    broken = learn_together({"good": good, "bad": bad}, events, TRAIN, 1, lambda _: None)
    assert list(broken) == ["bad"]
    assert "not finite" in str(broken["bad"])
    assert same(good, alone)
