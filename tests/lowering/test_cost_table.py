"""A small table, measured for real."""

import json
import re
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import to_json, write_json
from recprune.lowering.cost_table import _facts, cost_table, cpu_name, load_costs
from recprune.lowering.probe import IDLE, Probe
from recprune.lowering.probes import AXES, Grid, probes
from recprune.lowering.timing import Effort, _session, measure
from recprune.pruning.time_cost import MeasuredTime
from tests.networks import FAMILIES, shape_of

SMALL = Grid(
    widths=(1, 64), outputs=(1, 64), inputs=(1, 64), pairs=(1, 16), vectors=(2, 8), embedding=(8, 16), numbers=(1, 4)
)
QUICK = Effort(rounds=2, seconds=0.0003, calls=20)
NAME = f"{cpu_name()}-{ort.__version__}.json"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cost_table(tmp_path_factory.mktemp("costs"), (1, 128), grid=SMALL, effort=QUICK)


def changed(file: Path, folder: Path, **facts: Any) -> Path:
    table = json.loads(file.read_text(encoding="utf-8"))
    copy = folder / file.name
    copy.write_text(to_json(table | facts), encoding="utf-8")
    return copy


def test_the_file_says_what_it_was_measured_on(file: Path) -> None:
    table = load_costs(file)
    assert file.name == NAME
    told = {name: value for name, value in table.items() if name != "batches"}
    assert told == {
        "format": 1, "cpu": cpu_name(), "onnxruntime": ort.__version__, "threads": 1, "precision": "fp32", "unit": "us",
    }  # fmt: skip
    assert list(table["batches"]) == ["1", "128"]


def test_the_name_of_the_cpu_is_plain() -> None:
    assert cpu_name() == "".join(c if c.isalnum() or c in "_-" else "?" for c in cpu_name())


def test_every_part_has_a_time_at_every_place(file: Path) -> None:
    for parts in load_costs(file)["batches"].values():
        assert set(parts) == {*AXES, "whole"}
        for name, axes in AXES.items():
            at, us = parts[name]["at"], parts[name]["us"]
            assert tuple(at) == axes
            for axis in at.values():
                assert len(us) == len(axis) == 2
                us = us[0]
            assert isinstance(us, float)
        assert 0 < parts["whole"]["p50"] <= parts["whole"]["p99"]


def test_times_are_plausible(file: Path) -> None:
    one, many = (load_costs(file)["batches"][rows] for rows in ("1", "128"))
    assert 0.5 < one["call"]["us"] < 1000
    assert many["layer"]["us"][1][1] > one["layer"]["us"][0][0]
    assert one["whole"]["p50"] > one["call"]["us"]


def test_a_table_is_never_measured_again(file: Path) -> None:
    before, told = file.read_bytes(), list[int]()
    assert cost_table(file.parent, (1, 128), progress=lambda done, total: told.append(done)) == file
    assert cost_table(file.parent, (128,)) == file
    assert file.read_bytes() == before
    assert told == []


def test_another_batch_size_is_added_and_the_others_stay(file: Path, tmp_path: Path) -> None:
    copy, told = changed(file, tmp_path), list[tuple[int, int]]()
    before = load_costs(file)["batches"]
    cost_table(tmp_path, (128, 2), grid=SMALL, effort=QUICK, progress=lambda done, total: told.append((done, total)))
    after = load_costs(copy)["batches"]
    assert list(after) == ["1", "2", "128"]
    assert {rows: after[rows] for rows in before} == before
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize(("facts", "problem"), [
    ({"cpu": "z80"}, f"cpu is 'z80', here it is '{cpu_name()}'"),
    ({"onnxruntime": "0.1"}, f"onnxruntime is '0.1', here it is '{ort.__version__}'"),
    ({"format": 2}, "format is 2, here it is 1"),
    ({"precision": "int8"}, "precision is 'int8', here it is 'fp32'"),
])  # fmt: skip
def test_a_table_of_another_machine_is_refused(file: Path, tmp_path: Path, facts: Any, problem: str) -> None:
    copy = changed(file, tmp_path, **facts)
    with pytest.raises(RecpruneError) as error:
        cost_table(tmp_path)
    assert str(error.value) == (
        f"{copy}: {problem}; times of another machine or version say nothing about this one: "
        "move the file away, and a new table is measured (a minute)."
    )


def test_a_table_that_was_cut_is_refused(file: Path, tmp_path: Path) -> None:
    parts = {name: part for name, part in load_costs(file)["batches"]["1"].items() if name not in ("layer", "whole")}
    copy = changed(file, tmp_path, batches={"1": parts})
    with pytest.raises(RecpruneError) as error:
        load_costs(copy)
    assert str(error.value) == (
        f"{copy}: batch size 1 lacks layer, whole; the file was cut: "
        "move the file away, and a new table is measured (a minute)."
    )


@pytest.mark.parametrize("text", ["", "[]", "{", "3"])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text, encoding="utf-8")
    with pytest.raises((RecpruneError, DamagedArtefactError), match=NAME):
        load_costs(tmp_path / NAME)


@pytest.mark.parametrize("probe", probes(SMALL), ids=lambda p: f"{p.part}{p.at}")
def test_copies_stay_apart(probe: Probe) -> None:
    found = _session(probe)
    outputs = [o.name for o in found.get_outputs() if o.name != IDLE]
    assert probe.units % len(outputs) == 0
    values = found.run(outputs, probe.feed(2))
    assert all((v == values[0]).all() for v in values[1:])


def test_what_nobody_asks_for_is_computed() -> None:
    """On this the whole measurement rests."""
    large = Grid(widths=(512,), outputs=(512,), inputs=(1,), pairs=(1,), vectors=(2,), embedding=(8,), numbers=(1,))
    parts = measure((256,), large, QUICK)["256"]
    assert parts["layer"]["us"][0][0] > 20 * parts["call"]["us"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_is_estimated_from_it(file: Path, family: str) -> None:
    shape = shape_of(4, 2, family=family, embedding=8, heads=2)
    cost = MeasuredTime(load_costs(file), 128, "p50", strings=["c0"])
    assert 0 < cost.fixed(shape) < cost(shape, shape.counts()) < 1


@pytest.mark.parametrize("batches", ["x", None, {"1": "gone"}, {"one": {}}])
def test_times_of_another_kind_are_told(batches: object, tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    write_json(file, {**_facts(), "batches": batches})
    with pytest.raises(DamagedArtefactError, match=rf"^{re.escape(str(file))} holds something else than recprune"):
        load_costs(file)
