import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.backtest.policies import POLICIES
from recprune.backtest.stream import Stream, first_sizes
from recprune.backtest.trial import RETURN_DAYS, SETTLING, Record, Schedule, Trial, known, nonzero_weights, replay
from recprune.data.features import FeatureSet
from recprune.errors import SettingsError
from recprune.metrics.scores import normalized_entropy, probability
from recprune.model.line import Line, grow_rows, new_line
from recprune.model.shape import dense_shape
from recprune.pruning.budget import budget_for
from recprune.pruning.carving import carve_to_ramp
from recprune.pruning.control import Control
from recprune.pruning.masks import maskable
from recprune.pruning.policy import Adapted, Lines, Policy, Today
from recprune.pruning.shrink import swap_inputs
from recprune.training.incremental import learn
from recprune.training.scoring import score
from tests.backtest.streams import DAYS, SCHEDULE, tiny, told, trial_of
from tests.networks import FAMILIES, events_for, line_of, masked, shape_of

MASKED = ("gmp", "set", "rigl", "dsl", "dpf", "acdc")


def run(stream: Stream, trial: Trial) -> Record:
    return replay(stream, trial, lambda _done: None)[0]


def learn_by_hand(line: Line, stream: Stream, trial: Trial, number: int) -> None:
    seed = trial.train.seed * 1_000_003 + 8 * number
    grow_rows(line, stream.day(number).sizes, seed)
    learn(line, stream.day(number).learn, trial.train, seed)


def ne_by_hand(line: Line, events: FeatureSet) -> float:
    return normalized_entropy(events.label, probability(score(line, events)))


def fixed_mask_by_hand(stream: Stream, trial: Trial) -> tuple[list[float], Line]:
    """Replay the fixed mask day by day: score, learn, then copy or cut."""
    shape, prune = dense_shape(stream.schema, trial.model), trial.chosen.prune
    dense, served, budget = (
        new_line(shape, first_sizes(stream.schema), trial.train.seed),
        None,
        budget_for(shape, prune),
    )
    found = []
    for number in range(trial.days):
        day = stream.day(number)
        found.append(ne_by_hand(served or dense, day.score))
        carved = number - trial.schedule.warm + 1
        if carved <= prune.carve_days:
            learn_by_hand(dense, stream, trial, number)
        if served:
            learn_by_hand(served, stream, trial, number)
        if carved == 0:
            served = dense.copy()
        if served and 0 < carved <= prune.carve_days:
            served, _ = carve_to_ramp(served, day.learn, carved, budget, prune)
    assert served is not None
    return found, served


def test_the_fixed_mask_is_what_it_is_by_hand(stream: Stream) -> None:
    trial = trial_of("fixed_mask")
    record, line = replay(stream, trial, lambda _done: None)
    by_hand, last = fixed_mask_by_hand(stream, trial)
    assert record.ne == by_hand
    assert line.shape == last.shape
    assert record.weights[-1] == nonzero_weights(last)


def test_dense_and_frozen_are_what_they_are_by_hand(stream: Stream) -> None:
    dense = new_line(dense_shape(stream.schema, tiny().model), first_sizes(stream.schema), tiny().train.seed)
    trial, expected = trial_of("dense"), []
    for number in range(trial.days):
        expected.append(ne_by_hand(dense, stream.day(number).score))
        learn_by_hand(dense, stream, trial, number)
    assert run(stream, trial).ne[SCHEDULE.tuned :] == expected[SCHEDULE.tuned :]


def test_frozen_learns_nothing_more_and_takes_new_ids_for_unknown(stream: Stream) -> None:
    trial = trial_of("frozen")
    settled = SCHEDULE.warm + trial.chosen.prune.carve_days
    _, line = fixed_mask_by_hand(stream, replace(trial, days=settled))
    new = 0
    for number, ne in enumerate(run(stream, trial).ne[settled:], settled):
        seen = stream.day(number).score
        ids = seen.ids.copy()
        for feature, size in enumerate(line.sizes):
            new += int((ids[:, feature] >= size).sum()) if size else 0
            ids[ids[:, feature] >= size, feature] = 0
        assert ne == ne_by_hand(line, replace(seen, ids=ids))
    assert new > 100, "ids must turn over for this test to say something"


def changed(stream: Stream, folder: Path, part: str, number: int) -> Stream:
    """Return the stream with the labels of one day's set turned round."""
    shutil.copytree(stream.folder, folder)
    file = folder / f"{number:05d}" / part / "label.npy"
    np.save(file, 1 - np.load(file))
    return replace(stream, folder=folder)


@pytest.mark.parametrize("text", ["ads", "dense", "small_dense:reads=swap", "d2s:every=1", "rigl"])
def test_a_day_is_scored_before_it_is_learned(stream: Stream, tmp_path: Path, text: str) -> None:
    trial = trial_of(text)
    before = run(stream, trial).ne
    after = run(changed(stream, tmp_path / "learned", "learn", 10), trial).ne
    assert after[:11] == before[:11]
    assert all(ours != theirs for ours, theirs in zip(after[11:], before[11:], strict=True))


@pytest.mark.parametrize("text", ["fixed_mask", "dense", "small_dense:reads=swap", "d2s:every=1", "rigl"])
def test_what_a_day_is_scored_on_is_never_learned_from_that_set(stream: Stream, tmp_path: Path, text: str) -> None:
    trial = trial_of(text)
    before = run(stream, trial).ne
    after = run(changed(stream, tmp_path / "scored", "score", 10), trial).ne
    assert [n for n in range(trial.days) if after[n] != before[n]] == [10]


def test_ads_may_decide_by_scores_but_only_for_later_days(stream: Stream, tmp_path: Path) -> None:
    trial = trial_of("ads:refresh_threshold=0.1")
    before = run(stream, trial).ne
    after = run(changed(stream, tmp_path / "scored", "score", 10), trial).ne
    assert after[:10] == before[:10]
    assert after[10] != before[10]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_runs_on_every_family(stream: Stream, name: str, family: str) -> None:
    text = f"{name}:top=one" if name == "small_dense" else name
    trial = trial_of(text, 0.7, family, days=SCHEDULE.tuned + 2)
    record, line = replay(stream, trial, lambda _done: None)
    assert record.failed is None
    assert len(record.ne) == len(record.cost_share) == len(record.weights) == trial.days
    assert all(len(counts) <= trial.days for counts in record.widths.values())
    scored = record.ne[SCHEDULE.tuned :]
    assert all(ne is not None and 0.5 < ne < 1.6 for ne in scored), scored
    whole = nonzero_weights(new_line(dense_shape(stream.schema, trial.model), first_sizes(stream.schema), 0))
    shares, weights = record.cost_share[SCHEDULE.tuned :], record.weights[SCHEDULE.tuned :]
    if name in MASKED:
        assert set(shares) == {1.0}, "a mask of single weights saves nothing in ONNX Runtime"
        last = whole - sum(line.weights[name].numel() for name in maskable(line.weights))
        assert max(weights) <= 0.7 * (whole - last) + last + 1, "the last layer stays whole"
    elif name == "dense":
        assert (set(shares), set(weights)) == ({1.0}, {whole})
    elif name == "random":
        assert max(shares) < 0.8, "as many groups of each kind as the carving left, not exactly its cost"
    else:
        assert max(shares) <= 0.7


def test_a_trial_gives_the_same_numbers_again(stream: Stream) -> None:
    first, second = (run(stream, trial_of("ads:swap_ratio=1.0")) for _ in range(2))
    assert told(first) == told(second)
    assert any(first.inputs_changed), "ads must have done something for this test to say something"


def test_another_seed_gives_other_numbers(stream: Stream) -> None:
    assert run(stream, trial_of("set", days=4)).ne != run(stream, trial_of("set", days=4, seed=2)).ne


def test_fewer_days_are_the_beginning_of_more_days(stream: Stream) -> None:
    short, whole = (run(stream, trial_of("d2s:every=2", days=days)) for days in (10, 14))
    assert whole.ne[:10] == short.ne
    assert whole.weights[:10] == short.weights


def test_progress_counts_the_days_that_are_done(stream: Stream) -> None:
    seen: list[int] = []
    replay(stream, trial_of("set", days=5), seen.append)
    assert seen == [1, 2, 3, 4, 5]


def test_a_trial_that_breaks_says_when_and_how(stream: Stream) -> None:
    record = run(stream, trial_of("set", learning_rate=1e30))
    assert record.failed is not None
    day = record.failed.partition(": ")[0]
    assert day in DAYS
    assert len(record.ne) == len(DAYS)
    assert record.ne[DAYS.index(day) + 1 :] == [None] * (len(DAYS) - DAYS.index(day) - 1)


def test_training_costs_three_passes_of_every_line(stream: Stream) -> None:
    trial = trial_of("set")
    shape = dense_shape(stream.schema, trial.model)
    rows = sum(len(stream.day(number).learn) for number in range(trial.days))
    assert run(stream, trial).training_flops == pytest.approx(3 * shape.flops() * rows)


def test_prices_of_the_daily_swap_are_counted(stream: Stream) -> None:
    record, fixed = run(stream, trial_of("ads:swap_ratio=1.0")), run(stream, trial_of("fixed_mask"))
    assert sum(record.inputs_changed) > sum(fixed.inputs_changed) == 0
    assert record.training_flops > fixed.training_flops


def test_an_input_that_comes_back_within_a_week_is_counted(stream: Stream) -> None:
    """A policy that drops and takes back the same input, first after 2 days, then after 8."""
    going = {4: ([0], []), 5: ([1], []), 6: ([], [0]), 13: ([], [1])}

    class Flapping(Policy):
        def adapt(self, lines: Lines, control: Control, today: Today) -> Adapted:
            dropped, added = going.get(DAYS.index(today.day), ([], []))
            served = lines["served"]
            places = [served.shape.inputs[i] for i in dropped]
            names.extend(places)
            return Adapted({"served": swap_inputs(served, places, [names[i] for i in added])}, control)

    names: list[int] = []
    trial = trial_of("fixed_mask")
    record = run(stream, replace(trial, chosen=replace(trial.chosen, policy=Flapping())))
    came = {day: count for day, count in enumerate(record.inputs_changed) if count}
    assert came == {6: 1, 13: 1}
    assert {day: count for day, count in enumerate(record.inputs_returned) if count} == {6: 1}
    assert RETURN_DAYS == 7


def test_hooks_act_only_once_the_policy_has_begun(stream: Stream) -> None:
    """The prior has no anchor while the first carving lasts, on which days every policy just learns."""
    prior, fixed = run(stream, trial_of("incremental_prior")), run(stream, trial_of("fixed_mask"))
    settled = SCHEDULE.warm + 2
    assert prior.ne[: settled + 1] == fixed.ne[: settled + 1]
    assert prior.ne[settled + 2 :] != fixed.ne[settled + 2 :]


class Watching(Policy):
    """Remembers what it is shown."""

    seen: list[Today] = []  # noqa: RUF012 – one policy, one test

    def adapt(self, lines: Lines, control: Control, today: Today) -> Adapted:
        self.seen.append(today)
        return super().adapt(lines, control, today)


def test_a_policy_acts_from_the_day_after_the_first_carving_on(stream: Stream) -> None:
    trial = trial_of("fixed_mask")
    Watching.seen.clear()
    run(stream, replace(trial, chosen=replace(trial.chosen, policy=Watching())))
    first = SCHEDULE.warm + trial.chosen.prune.carve_days
    assert [(today.day, today.number) for today in Watching.seen] == [
        (day, number) for number, day in enumerate(DAYS[first:])
    ]
    for number, today in enumerate(Watching.seen, first):
        assert today.learned.row_hash.tolist() == stream.day(number).learn.row_hash.tolist()
        assert today.scores["label"].to_list() == stream.day(number).score.label.tolist()


def test_everything_that_the_numbers_follow_from_is_a_fact(stream: Stream) -> None:
    trial = trial_of("ads:swap=3")
    facts = trial.facts(stream)
    assert list(facts) == ["stream", "policy", "prune", "model", "train", "schedule", "days"]
    assert (facts["stream"], facts["policy"], facts["days"]) == (stream.digest, "ads:swap=3", 14)
    assert (facts["prune"]["swap"], facts["schedule"]) == (3, {"warm": 2, "tuned": 9})
    changes: list[Callable[[Trial], Trial]] = [
        lambda t: replace(t, days=13),
        lambda t: replace(t, schedule=replace(t.schedule, warm=1)),
        lambda t: replace(t, train=replace(t.train, seed=9)),
        lambda t: replace(t, model=replace(t.model, embedding=2)),
        lambda t: replace(t, chosen=replace(t.chosen, prune=replace(t.chosen.prune, budget=0.1))),
        lambda t: replace(t, chosen=replace(t.chosen, text="ads")),
    ]
    assert all(change(trial).facts(stream) != facts for change in changes)


def test_a_title_tells_trials_apart() -> None:
    told = "d2s:every=2 (budget 0.5, seed 1, learning rates 0.02 and 0.2, 14 days)"
    assert trial_of("d2s:every=2").title() == told


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_fits_passes_the_check(stream: Stream, name: str, family: str) -> None:
    trial_of(f"{name}:top=one" if name == "small_dense" else name, 0.7, family).check(stream.schema)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "ads", "budget": 0.001}, "prune.budget is 0.001, "),
        (
            {"text": "small_dense", "family": "autoint"},
            "small_dense: no network of shape three that reads all is within",
        ),
        (
            {"text": "incremental_prior:strength=-1.0"},
            "IncrementalPrior: strength is -1 and memory 0.999; strength must",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_it_begins(stream: Stream, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        trial_of(**changes).check(stream.schema)


def test_a_year_is_tuned_on_its_first_fifth() -> None:
    assert Schedule.of(365, 4) == Schedule(warm=29, tuned=73)
    assert Schedule.of(100, 4) == Schedule(warm=8, tuned=20)
    assert Schedule.of(59, 4) == Schedule(warm=3, tuned=12)
    assert Schedule.of(14, 4) == Schedule(warm=1, tuned=10)


@given(st.integers(1, 2000), st.integers(1, 60))
def test_the_first_carving_has_settled_before_a_day_is_judged(days: int, carve_days: int) -> None:
    schedule = Schedule.of(days, carve_days)
    assert schedule.warm >= 1
    assert schedule.warm + carve_days + SETTLING < schedule.tuned


def test_ids_beyond_a_lines_rows_are_unknown_and_features_that_are_not_read_do_not_matter() -> None:
    line = line_of(shape_of(3, 0))
    line.sizes = (3, 0, 5)
    events = replace(events_for(line_of(shape_of(3, 0)), 3), ids=np.array([[2, 9, 4], [3, 9, 4], [1, 9, 5]], np.int32))
    assert known(events, line).ids[:, [0, 2]].tolist() == [[2, 4], [0, 4], [1, 0]]
    assert known(events.rows(slice(0, 1)), line).ids.tolist() == [[2, 9, 4]]
    assert len(known(events.rows(slice(0, 0)), line)) == 0


def test_weights_are_those_that_masks_leave() -> None:
    line = line_of(shape_of(2, 1))
    whole = sum(tensor.numel() for name, tensor in line.weights.items() if name.endswith(".weight"))
    assert nonzero_weights(line) == whole
    masked(line)
    assert nonzero_weights(line) == sum(int(mask.sum()) for mask in line.masks.values()) < whole
