import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recprune.data.features import FeatureSet
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.dynamic_sparse import DSL, SET
from recprune.pruning.sparse_training import FixedMask
from recprune.training.hooks import Hook
from recprune.training.incremental import learn
from recprune.training.midway import Checkpoints, Midway, train_facts
from recprune.training.together import learn_together
from tests.kills import call_killed_at
from tests.networks import TRAIN, events_for, line_of, masked, same, shape_of

pytestmark = pytest.mark.usefixtures("workspace")

DAY, KEY = "2024-01-02", {"inputs": {"data/features/2024-01-02": "0a1b"}, "code": "77"}
FOLDER = Path("scratch") / DAY / "train"
AT_ONCE, SINCE = 1e-9, " since the manifest was written"
SHAPES = {
    "dlrm": shape_of(), "carved dlrm": shape_of(3, 1, inputs=[0, 2, 8]), "ids": shape_of(2, 0),
    "numbers": shape_of(0, 2), "dcn": shape_of(family="dcn"), "deepfm": shape_of(family="deepfm"),
    "autoint": shape_of(3, 1, family="autoint", attention=2, inputs=[1, 9], attended=[0, 2, 3]),
}  # fmt: skip


def checkpoints(
    say: Callable[[str], None] = lambda _: None,
    *,
    key: dict[str, Any] = KEY,
    minutes: float = AT_ONCE,
    share: float = 1e9,
) -> Checkpoints:
    return Checkpoints(DAY, key, minutes=minutes, threads=1, say=say, share=share)


def go_on(line: Line, events: FeatureSet, kept: Checkpoints, hook: Hook | None = None) -> None:
    """Learn with a checkpoint in every 16 batches at least, however slow the disk is."""
    served = kept.of("served")

    def wait(_done: int, _rows: int) -> None:
        if served._writing is not None:
            served._writing.result()

    learn(line, events, TRAIN, 3, wait, hook, kept=served)


@contextmanager
def stopped(kept: Checkpoints) -> Iterator[Checkpoints]:
    """Leave the checkpoints behind in the end, as a kill does."""
    with suppress(KeyboardInterrupt), kept:
        yield kept
        raise KeyboardInterrupt


def stop_half_way(line: Line, events: FeatureSet, kept: Checkpoints) -> None:
    """Learn until half of the events are done, with a checkpoint of that instant, and fail."""
    served = kept.of("served")

    def at(done: int, rows: int) -> None:
        if served._writing is not None:  # on a busy machine the last one would be long in the making
            served._writing.result()
        if done >= rows // 2:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match=r"^stopped$"), kept:
        learn(line, events, TRAIN, 3, at, kept=served)


def with_masks(line: Line) -> Line:
    masked(line)
    for name, mask in line.masks.items():
        line.weights[name] *= mask
    return line


def begin_and_go_on(shape: Shape, rows: int, hook: Hook | None = None) -> None:
    line = line_of(shape)
    events = events_for(line, rows)
    go_on(line if hook is None else with_masks(line), events, checkpoints(), hook)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_pass_that_is_killed_goes_on_to_the_bytes_of_an_undisturbed_one(shape: Shape) -> None:
    whole, said = line_of(shape), list[str]()
    events = events_for(whole, 1200)
    learn(whole, events, TRAIN, seed=3)
    for operation in (9, 30, 47):
        assert call_killed_at(operation, begin_and_go_on, shape, 1200)
        line = line_of(shape)
        with checkpoints(said.append) as kept:
            go_on(line, events, kept)
        assert same(line, whole)
        assert not FOLDER.exists()
    assert any(
        re.match(r"served goes on after batch \d+, from scratch/2024-01-02/train/served\.\d$", line) for line in said
    )


@pytest.mark.parametrize("hook", [FixedMask(), SET(every=7), DSL(every=7, cycle=20)], ids=["fixed", "set", "dsl"])
def test_masks_and_a_policys_own_tensors_go_on_too(hook: Any) -> None:
    whole = with_masks(line_of(shape_of()))
    events = events_for(whole, 1200)
    learn(whole, events, TRAIN, 3, hook=hook)
    said: list[str] = []
    assert call_killed_at(40, begin_and_go_on, shape_of(), 1200, hook)
    line = with_masks(line_of(shape_of()))
    with checkpoints(said.append) as kept:
        go_on(line, events, kept, hook)
    assert same(line, whole)
    assert any("goes on after batch" in line for line in said)


def test_what_is_done_is_not_done_again() -> None:
    line = line_of(shape_of())
    events = events_for(line, 160 * TRAIN.batch)
    stop_half_way(line, events, checkpoints())
    resumed, seen = line_of(shape_of()), list[int]()
    with checkpoints() as kept:
        report = learn(resumed, events, TRAIN, 3, lambda done, _: seen.append(done), kept=kept.of("served"))
    whole = line_of(shape_of())
    assert seen[0] >= len(events) // 2 - 32 * TRAIN.batch  # the last checkpoint may have been in the making
    assert report == learn(whole, events, TRAIN, 3)
    assert same(resumed, whole)


def three_lines() -> dict[str, Line]:
    return {name: line_of(shape_of(3, 1, family=name)) for name in ("dlrm", "dcn", "autoint")}


def learn_three() -> None:
    lines = three_lines()
    events = events_for(lines["dlrm"], 2000)
    learn_together(lines, events, TRAIN, 5, lambda _: time.sleep(0.05), kept=checkpoints())


def test_lines_side_by_side_go_on_from_where_each_of_them_was() -> None:
    whole = three_lines()
    events = events_for(whole["dlrm"], 2000)
    assert learn_together(whole, events, TRAIN, 5, lambda _: None) == {}
    assert call_killed_at(60, learn_three)
    lines, said = three_lines(), list[str]()
    with checkpoints(said.append) as kept:
        assert learn_together(lines, events, TRAIN, 5, lambda _: None, kept=kept) == {}
    assert all(same(lines[name], whole[name]) for name in lines)
    assert len(said) >= 1


def test_another_key_is_ignored_and_says_what_is_other() -> None:
    line = line_of(shape_of())
    events = events_for(line, 400)
    stop_half_way(line, events, checkpoints())
    (place,) = FOLDER.iterdir()
    other, said = line_of(shape_of()), list[str]()
    with checkpoints(said.append, key={**KEY, "code": "78"}) as kept:
        go_on(other, events, kept)
    whole = line_of(shape_of())
    learn(whole, events, TRAIN, seed=3)
    assert said == [f"{place} is ignored: it was kept with other code; what it would have saved is computed again"]
    assert same(other, whole)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda place: flip(place / "served.safetensors"), "served.safetensors was changed" + SINCE),
        (lambda place: flip(place / "beside.tensors"), "beside.tensors was changed" + SINCE),
        (lambda place: (place / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda place: (place / "served.safetensors").unlink(), "served.safetensors is missing" + SINCE),
    ],
    ids=["weights", "importance", "no manifest", "no weights"],
)  # fmt: skip
def test_a_damaged_checkpoint_is_ignored_and_says_so(harm: Callable[[Path], None], told: str) -> None:
    line = line_of(shape_of())
    events = events_for(line, 400)
    stop_half_way(line, events, checkpoints())
    (place,) = FOLDER.iterdir()
    harm(place)
    again, whole, said = line_of(shape_of()), line_of(shape_of()), list[str]()
    with checkpoints(said.append) as kept:
        go_on(again, events, kept)
    learn(whole, events, TRAIN, seed=3)
    expected = f"{place} is ignored: {place}/{told}; what it would have saved is computed again"
    assert said == [expected]
    assert same(again, whole)


def test_a_checkpoint_of_another_network_is_ignored() -> None:
    line = line_of(shape_of(2, 1))
    events = events_for(line, 400)
    stop_half_way(line, events, checkpoints())
    said: list[str] = []
    with checkpoints(said.append) as kept:
        assert kept.of("served").restore(line_of(shape_of(2, 1, top=(2,)))) is None
    assert "is ignored: it is of another network; " in said[0]


def test_of_two_whole_checkpoints_the_later_one_counts_and_is_the_last_to_be_replaced() -> None:
    line = line_of(shape_of())
    with stopped(checkpoints()) as kept:
        for batches, place in ((2, "a"), (3, "b")):
            served = kept.of("served")
            served.keep(line, Midway(batches, 0.5, {}))
            served._writing.result()  # type: ignore[union-attr]
            (FOLDER / "served.0").rename(FOLDER / place)
    (FOLDER / "a").rename(FOLDER / "served.0")
    (FOLDER / "b").rename(FOLDER / "served.1")
    with stopped(checkpoints()) as kept:
        served = kept.of("served")
        assert served.restore(line_of(shape_of())) == Midway(3, 0.5, {})
        served.keep(line, Midway(4, 0.5, {}))
        served._writing.result()  # type: ignore[union-attr]
    assert [path.name for path in FOLDER.iterdir()] == ["served.0"]


def test_the_next_checkpoint_waits_until_its_share_of_the_time_allows_it() -> None:
    written: list[float] = []
    line = line_of(shape_of())
    with checkpoints(share=1e-9) as kept:
        served = kept.of("served")
        for batches in range(1, 50):
            if served.is_due():
                served.keep(line, Midway(batches, 0.0, {}))
                served._writing.result()  # type: ignore[union-attr]
                written.append(batches)
    assert written == [1]


def test_no_checkpoint_is_written_before_its_time_or_when_switched_off() -> None:
    line = line_of(shape_of())
    for minutes in (5, 0):
        with stopped(checkpoints(minutes=minutes)) as kept:
            go_on(line, events_for(line, 80), kept)
        assert not FOLDER.exists()


def test_a_checkpoint_that_cannot_be_written_is_told_and_the_pass_goes_on() -> None:
    FOLDER.parent.mkdir(parents=True)
    FOLDER.write_text("a file where the folder should be")
    line, whole, said = line_of(shape_of()), line_of(shape_of()), list[str]()
    events = events_for(line, 80)
    with checkpoints(said.append) as kept:
        go_on(line, events, kept)
    learn(whole, events, TRAIN, seed=3)
    assert (
        said[0]
        == "scratch/2024-01-02/train/served.0 is not written: File exists; the step goes on without this checkpoint"
    )
    assert same(line, whole)


def test_a_line_that_is_not_sound_is_not_kept() -> None:
    line, said = line_of(shape_of()), list[str]()
    line.weights["top.0.bias"][0] = torch.inf
    with stopped(checkpoints(said.append)) as kept:
        kept.of("served").keep(line, Midway(1, 0.0, {}))
    assert said == []
    assert not FOLDER.exists() or list(FOLDER.iterdir()) == []


def test_an_array_is_computed_once() -> None:
    computed: list[int] = []

    def compute() -> np.ndarray[Any, np.dtype[np.float64]]:
        computed.append(1)
        return np.array([0.5, -1.0])

    said: list[str] = []
    for _ in range(2):
        with stopped(checkpoints(said.append)) as kept:
            assert kept.once("scores.dense", compute).tolist() == [0.5, -1.0]
    assert (len(computed), said) == (1, ["scores.dense is taken from scratch/2024-01-02/train/scores.dense"])
    flip(FOLDER / "scores.dense/array.npy")
    with checkpoints(said.append) as kept:
        assert kept.once("scores.dense", compute).tolist() == [0.5, -1.0]
    assert len(computed) == 2
    assert "scores.dense/array.npy was changed" in said[1]
    shutil.rmtree("scratch")
    with stopped(checkpoints(minutes=5)) as kept:
        kept.once("scores.dense", compute)
    assert not FOLDER.exists(), "what takes less than a pause is computed again"


def test_the_pause_is_no_part_of_what_is_learned() -> None:
    facts = train_facts(TRAIN)
    assert "checkpoint_minutes" not in facts
    assert facts["learning_rate"] == TRAIN.learning_rate
