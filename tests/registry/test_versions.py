import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from recprune.errors import RecpruneError
from recprune.files import artefact, write_json
from recprune.registry.history import HISTORY, read_history, record
from recprune.registry.versions import at_hand, differences, read_version, read_versions

G, D1, D2, D3 = "2023-12-31", "2024-01-01", "2024-01-02", "2024-01-03"
ABOUT: dict[str, Any] = {
    "flops": {"dense": 1000, "served": 200}, "bytes": 5000, "precision": "fp32", "calibration_offset": 0.0,
    "widths": {"inputs": 30, "top.0": 16}, "vocabulary": {"user": 100, "item": 50},
    "inputs": [{"name": "user", "dtype": "int64"}, {"name": "item", "dtype": "string"}],
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("workspace")


def bundle(day: str, **changes: Any) -> Path:
    path = Path("bundles") / day
    with artefact(path, "bundle", day, ABOUT | changes) as folder:
        (folder / "model.onnx").write_bytes(b"model")
    return path


def serve(day: str, **changes: Any) -> None:
    record("genesis" if day == G else "promoted", day, day, bundle(day, **changes), f"{day} passed.")


def scored(day: str, champion: str, rows: int, ne: float | None) -> None:
    told = {"champion_day": champion, "next_day": {"rows": rows, "ne": {"champion": ne}}}
    write_json(Path(f"reports/{day}/evaluation.json"), told)


def measured(day: str, median: float) -> None:
    write_json(
        Path(f"reports/{day}/measurements.json"),
        {"latency": {"candidate": {"128": {"p50_us": median, "p99_us": 2 * median}}}},
    )


def test_a_version_serves_from_the_day_after_until_the_next_change() -> None:
    serve(G)
    serve(D1)
    record("rollback", D2, G, Path(f"bundles/{G}"), "clicks fell")
    found = {v.day: [(p.number, p.first, p.last, p.entry.event) for p in v.periods] for v in read_versions()}
    assert found == {G: [(0, D1, D1, "genesis"), (2, D3, None, "rollback")], D1: [(1, D2, D2, "promoted")]}


@pytest.mark.parametrize(
    "told", [{}, {"champion_day": G, "next_day": None}, {"champion_day": G, "next_day": {"rows": 3}}]
)
def test_an_evaluation_without_numbers_tells_nothing_of_the_champion(told: dict[str, Any]) -> None:
    serve(G)
    scored(D1, G, 100, 0.5)
    write_json(Path(f"reports/{D2}/evaluation.json"), told)
    [version] = read_versions()
    assert [day for day, _, _ in version.scored] == [D1]


def test_who_changed_what_serves_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    serve(G)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("no name")))
    serve(D1)
    assert [entry.who for entry in read_history()] == ["ada", str(os.getuid())]


def test_entries_of_before_that_are_read() -> None:
    serve(G)
    entry = json.loads(HISTORY.read_text())
    del entry["who"]
    HISTORY.write_text(json.dumps(entry) + "\n")
    assert read_history()[0].who == ""
    assert read_version(G).day == G


def test_ne_is_the_mean_over_the_rows_of_the_days_that_it_met() -> None:
    serve(G)
    serve(D1)
    scored(D1, G, 100, 0.5)
    scored(D2, D1, 100, 0.4)
    scored(D3, D1, 300, 0.8)
    scored("2024-01-04", D1, 0, None)
    found = {v.day: (v.days, v.ne) for v in read_versions()}
    assert found == {G: (1, 0.5), D1: (2, pytest.approx(0.7))}
    serve(D3)
    assert (read_version(D3).days, read_version(D3).ne) == (0, None)


def test_what_never_served_is_told() -> None:
    serve(G)
    with pytest.raises(RecpruneError, match=f"^{D1} never served; these did: {G}$"):
        read_version(D1)
    HISTORY.unlink()
    with pytest.raises(RecpruneError, match=r" has no champion yet; make a workspace with: recprune init DIR$"):
        read_version(D1)


def test_two_versions_that_are_the_same_differ_in_nothing() -> None:
    serve(G)
    serve(D1)
    assert differences(read_version(G), read_version(D1)) == ["Nothing that the manifests tell differs."]


def test_everything_that_differs_is_told_in_words() -> None:
    serve(G)
    inputs = [{"name": "user", "dtype": "string"}, {"name": "shop", "dtype": "int64"}]
    serve(
        D1, flops={"dense": 1000, "served": 150}, bytes=6000, precision="int8", calibration_offset=-0.25, inputs=inputs,
        widths={"inputs": 28, "top.0": 16, "bottom.0": 8}, vocabulary={"user": 0, "item": 60, "shop": 9},
    )  # fmt: skip
    measured(G, 200.0)
    measured(D1, 150.0)
    scored(D1, G, 10, 0.5)
    scored(D2, D1, 10, 0.45)
    assert differences(read_version(G), read_version(D1)) == [
        "NE while serving 0.5000 → 0.4500 (−10.0 %) (on 1 and 1 days, not the same)",
        "FLOPs a row 200 → 150 (−25.0 %)",
        "model file 5,000 → 6,000 bytes (+20.0 %)",
        "median latency of a batch of 128 200 → 150 µs (−25.0 %)",
        "calibration offset +0.0000 → -0.2500",
        "precision fp32 → int8",
        "width of inputs 30 → 28",
        "width of bottom.0 0 → 8",
        "user is not read any more (100 rows of the table went)",
        "ids of item 50 → 60",
        "shop is read now (9 rows of the table came)",
        "input user: int64 → string",
        "input item: string → is gone",
        "input shop: was not there → int64",
    ]


def test_without_a_bundle_nothing_is_compared() -> None:
    serve(G)
    serve(D1)
    Path(f"bundles/{D1}/manifest.json").unlink()
    told = f"bundles/{D1} is not here, so that nothing can be said of it; bring it with: recprune fetch {D1}"
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        differences(read_version(G), read_version(D1))


def test_the_versions_at_hand_are_the_last_that_served_and_whom_a_forced_one_ousts() -> None:
    days = [f"2024-01-{n:02}" for n in range(1, 10)]
    assert at_hand(3) == []
    for day in days:
        serve(day)
    assert at_hand(3) == days[:5:-1]
    assert at_hand(99) == days[::-1]
    record("rollback", days[-1], days[0], Path("bundles") / days[0], "clicks fell")
    assert at_hand(2) == [days[0], days[-1]]
    record("forced", days[-1], days[1], Path("bundles") / days[1], "late labels", until="2024-01-12")
    assert at_hand(1) == [days[1], days[0]], "the one of before serves again when the promotion by force ends"
