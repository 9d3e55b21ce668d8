from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recprune.daily.rebuild import Compared, Rebuilt, _check_machine, _elsewhere
from recprune.environment import environment
from recprune.errors import RecpruneError
from recprune.files import write_json
from tests.makers import settings

EVENTS, MODEL = "data/events/2024-01-02", "models/2024-01-02/trained"
SAME = (Compared(EVENTS, 2, ()), Compared(MODEL, 4, ()))
OTHER_WEIGHTS = (Compared(EVENTS, 2, ()), Compared(MODEL, 4, ("dense.safetensors",)))
OTHER_ROWS = (Compared(EVENTS, 2, ("events.parquet",)), Compared(MODEL, 4, ("dense.safetensors",)))
ELSEWHERE = ("cpu x86_64-avx512 then, x86_64-avx2 now",)


def day(compared: tuple[Compared, ...], elsewhere: tuple[str, ...] = (), ne: float = 0.8) -> Rebuilt:
    return Rebuilt("2024-01-02", compared, elsewhere, {"tail of candidate": (0.8, ne)}, Path("scratch"))


def test_the_same_bytes_are_the_same_day() -> None:
    assert day(SAME).good
    assert day(SAME, ELSEWHERE).good
    assert day(SAME).first_difference is None


def test_other_bytes_on_the_same_machine_are_not() -> None:
    assert not day(OTHER_WEIGHTS).good
    assert day(OTHER_WEIGHTS).first_difference == OTHER_WEIGHTS[1]


@pytest.mark.parametrize(("ne", "good"), [(0.8, True), (0.8007, True), (0.7993, True), (0.801, False), (0.799, False)])
def test_elsewhere_every_ne_must_be_within_a_thousandth(ne: float, good: bool) -> None:
    assert day(OTHER_WEIGHTS, ELSEWHERE, ne).good is good


def test_elsewhere_the_rows_must_be_the_same() -> None:
    assert not day(OTHER_ROWS, ELSEWHERE).good
    assert not day(OTHER_ROWS).same_data
    assert day(OTHER_WEIGHTS).same_data


def test_a_day_that_was_learned_on_a_gpu_is_told_from_one_of_the_cpu(tmp_path: Path) -> None:
    chosen = settings()
    for name, device in (("cpu", None), ("gpu", "A GPU, CUDA 13.0")):
        found = {"environment": environment(chosen.train.threads, device)}
        write_json(tmp_path / name / "bundles/2024-01-02/manifest.json", found)
    assert _elsewhere(chosen, "2024-01-02", tmp_path / "cpu") == ()
    assert _elsewhere(chosen, "2024-01-02", tmp_path / "gpu") == ("device A GPU, CUDA 13.0 then, cpu now",)


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds a GPU")
def test_a_day_that_was_learned_by_what_is_not_here_is_refused_at_once() -> None:
    chosen = settings()
    told = (
        r"^2024-01-02 cannot be rebuilt on this machine: its settings, which are those of then, ask for what is not "
        r"here \(params\.yaml: train\.device is cuda, but torch .*\)\. "
        r"Verify it on a machine like the one that made it\.$"
    )
    with pytest.raises(RecpruneError, match=told):
        _check_machine("2024-01-02", replace(chosen, train=replace(chosen.train, device="cuda")))
    _check_machine("2024-01-02", replace(chosen, train=replace(chosen.train, device="cpu")))
