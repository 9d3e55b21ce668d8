import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from recprune.data.schema import ids, number
from recprune.errors import RecpruneError
from recprune.lowering.choose import measure, precise_ways, ranked, smallest_of_equals, way_before, ways
from recprune.lowering.graph import Network
from recprune.lowering.lowering import Lowering
from recprune.lowering.session import feed
from tests.lowering.served import SMALL, rows_of, served
from tests.lowering.test_families_graph import carved, dense

MODEL = served((ids("a"), ids("b", "int64"), ids("c"), number("x")), model=replace(SMALL, top=(64, 32)))
NETWORK = Network(MODEL.line, MODEL.vocabulary, MODEL.schema)
ROWS = MODEL.raw(rows_of(MODEL.schema, 50))
FILE = Path("costs/lowerings.json")

pytestmark = pytest.mark.usefixtures("workspace")


def test_every_layout_that_differs_is_a_way() -> None:
    assert [str(way) for way in ways(MODEL.line.shape)] == ["fp32", "pairs square", "pairs whole"]
    some = carved(dense("dlrm"), {"inputs": [0, 1, 5, 20, 21, 22, 25]})
    assert len(ways(some.line.shape)) == 6
    assert [str(way) for way in ways(dense("dcn").line.shape)] == ["fp32"]
    columns = carved(dense("deepfm"), {"inputs": [0, 1, 5]})
    assert [str(way) for way in ways(columns.line.shape)] == ["fp32", "columns whole"]


def test_precisions_come_with_one_layout() -> None:
    found = precise_ways(Lowering(pairs="square"))
    kinds = [(way.layers, way.rows) for way in found]
    assert kinds == list(product(("fp32", "int8", "dynamic_int8"), ("fp32", "uint8")))
    assert {way.pairs for way in found} == {"square"}


def test_the_fastest_comes_first_and_the_file_is_the_memory() -> None:
    found, times = ranked(NETWORK, ROWS, [1, 16], FILE)
    assert set(times) > {str(way) for way in found}
    assert all(set(us) == {"1", "16"} and min(us.values()) > 0 for us in times.values())
    assert not any(way.layers == "dynamic_int8" for way in found)
    assert any(way.exact for way in found)
    kept = json.loads(FILE.read_text())
    [network] = kept["networks"].values()
    network["us"][str(found[-1])] = {"1": 0.001, "16": 0.001}  # as if it had been measured so
    FILE.write_text(json.dumps(kept))
    again, _ = ranked(NETWORK, ROWS, [1, 16], FILE)
    assert again[0] == found[-1], "what was measured once is not measured again"
    assert set(again) == set(found)


def test_other_sizes_are_measured_anew_and_other_weights_are_not() -> None:
    ranked(NETWORK, ROWS, [1], FILE)
    first = json.loads(FILE.read_text())["networks"]
    grown = served(MODEL.schema.features, learned=90, seed=1, model=replace(SMALL, top=(64, 32)))
    ranked(Network(grown.line, grown.vocabulary, grown.schema), ROWS, [1], FILE)
    assert json.loads(FILE.read_text())["networks"] == first
    wider = served(MODEL.schema.features, model=replace(SMALL, top=(64, 48)))
    ranked(Network(wider.line, wider.vocabulary, wider.schema), ROWS, [1], FILE)
    assert len(json.loads(FILE.read_text())["networks"]) == 2
    ranked(NETWORK, ROWS, [16], FILE)
    assert len(json.loads(FILE.read_text())["networks"]) == 3


def test_more_work_takes_longer() -> None:
    large = served(MODEL.schema.features, model=replace(SMALL, top=(2048, 1024)))
    network = Network(large.line, large.vocabulary, large.schema)
    calls = {256: feed(large.raw(rows_of(large.schema, 256)))}
    small, great = (measure(n, [Lowering()], calls)["fp32"]["256"] for n in (NETWORK, network))
    assert great > 3 * small


def test_of_equals_the_smallest_comes_first_and_so_on() -> None:
    small, layers, rows, plain, slow = (
        Lowering(layers="int8", rows="uint8"), Lowering(layers="int8"), Lowering(rows="uint8"), Lowering(),
        Lowering(columns="whole"),
    )  # fmt: skip
    us = {str(layers): 100, str(small): 108, str(plain): 115, str(rows): 124, str(slow): 200}
    times = {way: {"1": 10.0, "128": float(value)} for way, value in us.items()}
    assert smallest_of_equals([layers, small, plain, rows, slow], times) == [small, layers, plain, rows, slow]
    times = {way: {"128": float(value)} for way, value in us.items()}
    assert smallest_of_equals([layers, small, plain, rows, slow], times) == [small, layers, plain, rows, slow]
    assert smallest_of_equals([slow, plain, rows], times) == [rows, plain, slow], "of those that are left"


def test_the_way_of_the_network_before_stays_unless_another_is_faster_by_more_than_noise() -> None:
    small, fast = Lowering(layers="int8", rows="uint8"), Lowering(layers="int8")
    for ratio, before, first in (
        (1.08, fast, fast), (1.12, fast, fast), (1.04, fast, small),
        (1.12, small, small), (1.08, small, small), (1.16, small, fast),
    ):  # fmt: skip
        times = {str(fast): {"1": 10.0, "128": 100.0}, str(small): {"1": 10.0 * ratio, "128": 100.0 * ratio}}
        assert smallest_of_equals([fast, small], times, str(before))[0] == first, (ratio, before)
    assert smallest_of_equals([fast], times, str(small)) == [fast], "of those that are left"


def test_a_network_of_other_sizes_knows_the_way_of_the_one_before() -> None:
    ranked(NETWORK, ROWS, [1], FILE)
    assert way_before(NETWORK, [1], FILE) is None
    kept = json.loads(FILE.read_text())
    [network] = kept["networks"].values()
    network["first"] = "layers int8"
    FILE.write_text(json.dumps(kept))
    wider = served(MODEL.schema.features, model=replace(SMALL, top=(64, 48)))
    other = Network(wider.line, wider.vocabulary, wider.schema)
    found, times = ranked(other, ROWS, [1], FILE)
    assert way_before(other, [1], FILE) == "layers int8"
    last = list(json.loads(FILE.read_text())["networks"].values())[-1]
    assert last["first"] == str(smallest_of_equals(found, times, "layers int8")[0])
    ranked(other, ROWS, [16], FILE)
    assert way_before(other, [16], FILE) is None, "measured for other calls"


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ([], "holds no times of format 1"),
        ({"format": 2, "networks": {}}, "holds no times of format 1"),
        ({"format": 1}, "holds no times of format 1"),
        ({"format": 1, "networks": {"a": {}}}, "network a has no times above 0 for each way and batch size"),
        ({"format": 1, "networks": {"a": {"us": {"fp32": {}}}}}, "network a has no times above 0"),
        ({"format": 1, "networks": {"a": {"us": {"fp32": {"1": 0}}}}}, "network a has no times above 0"),
    ],
)
def test_a_file_that_is_damaged_or_of_another_version_is_refused(kept: object, told: str) -> None:
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(kept))
    with pytest.raises(
        RecpruneError, match=rf"^costs/lowerings.json:? .*{told}.*; move the file away, and everything is"
    ):
        ranked(NETWORK, ROWS, [1], FILE)


def test_a_network_that_an_earlier_version_measured_in_fewer_ways_is_measured_anew() -> None:
    ranked(NETWORK, ROWS, [1], FILE)
    kept = json.loads(FILE.read_text())
    [network] = kept["networks"].values()
    del network["us"]["pairs whole"]
    FILE.write_text(json.dumps(kept))
    assert "pairs whole" in ranked(NETWORK, ROWS, [1], FILE)[1]
