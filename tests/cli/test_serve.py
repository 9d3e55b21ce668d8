import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.cli.main import app, main
from recprune.data.schema import MISSING_INT, many, number
from recprune.errors import SettingsError
from recprune.files import write_json
from recprune.serving.scorer import Scorer
from tests.lowering.served import served
from tests.serving.test_scorer import BUNDLE
from tests.serving.test_scorer import bundle as scored_by
from tests.serving.test_verify import PLACE, ROWS, bundle

pytestmark = pytest.mark.usefixtures("workspace")


def run(*arguments: str) -> int:
    """Run the command line; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    code = ended.value.code
    assert isinstance(code, int)
    return code


def expected(rows: pl.DataFrame = ROWS) -> list[float]:
    return [float(p) for p in Scorer(PLACE).score(rows)]


def test_probabilities_are_printed_in_the_rows_order(capsys: pytest.CaptureFixture[str]) -> None:
    bundle()
    ROWS.write_parquet("rows.parquet")
    assert run("score", str(PLACE), "rows.parquet") == 0
    printed = [np.float32(line) for line in capsys.readouterr().out.split()]
    assert printed == [np.float32(p) for p in expected()]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_rows_are_written_with_their_probability(suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    bundle()
    ROWS.with_columns(request=pl.Series(range(len(ROWS)))).write_parquet("rows.parquet")
    assert run("score", str(PLACE), "rows.parquet", "--out", f"scored.{suffix}") == 0
    told = f"scored.{suffix}: 20 rows, mean p_click {np.mean(expected()):.4g}"
    assert capsys.readouterr().out.strip() == told
    found = pl.read_parquet("scored.parquet") if suffix == "parquet" else pl.read_csv("scored.csv")
    assert found.columns == ["user", "item", "price", "request", "p_click"]
    assert found["p_click"].to_list() == pytest.approx(expected(), rel=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_files_are_read_with_the_models_types_and_missing_values(suffix: str) -> None:
    bundle()
    text = {
        "csv": "item,user,price\n007,7,2.5\n,,\n7,14,1e3\n",
        "jsonl": '{"item":"007","user":7,"price":2.5}\n{"item":null}\n{"item":"7","user":14,"price":1000}\n',
    }[suffix]
    Path(f"rows.{suffix}").write_text(text)
    assert run("score", str(PLACE), f"rows.{suffix}", "--out", "scored.parquet") == 0
    same = {"user": [7, MISSING_INT, 14], "item": ["007", "", "7"], "price": [2.5, float("nan"), 1000.0]}
    assert pl.read_parquet("scored.parquet")["p_click"].to_list() == Scorer(PLACE).score(same).tolist()


def test_no_rows_are_no_probabilities(capsys: pytest.CaptureFixture[str]) -> None:
    bundle()
    ROWS[:0].write_parquet("rows.parquet")
    assert run("score", str(PLACE), "rows.parquet") == 0
    assert capsys.readouterr().out == ""
    assert run("score", str(PLACE), "rows.parquet", "--out", "scored.csv") == 0


def test_many_rows_are_scored_in_parts() -> None:
    bundle()
    many = pl.concat([ROWS] * 500)
    many.write_parquet("rows.parquet")
    assert run("score", str(PLACE), "rows.parquet", "--out", "scored.parquet") == 0
    assert pl.read_parquet("scored.parquet")["p_click"].to_list() == pytest.approx(expected() * 500, rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "out", "told"),
    [
        ("rows.txt", "x.csv", "rows.txt: the name must end in .parquet, .csv, .jsonl, which says how to read it."),
        ("rows.csv", "x.xlsx", "--out x.xlsx: the name must end in .parquet or .csv."),
        ("bad.csv", "x.csv", "bad.csv cannot be read: could not parse `x` as dtype `i64`"),
        ("few.csv", "x.csv", "inputs item, price are missing; the model's manifest lists all inputs."),
    ],
)
def test_what_cannot_be_scored_is_told(rows: str, out: str, told: str) -> None:
    bundle()
    for name, text in (("rows.txt", ""), ("rows.csv", "user,item,price\n1,a,2\n"), ("few.csv", "user\n1\n")):
        Path(name).write_text(text)
    Path("bad.csv").write_text("user,item,price\nx,a,2\n")
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}"):
        app(["score", str(PLACE), rows, "--out", out])
    assert not Path(out).exists()


def test_a_file_that_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle()
    monkeypatch.setattr("sys.argv", ["recprune", "score", str(PLACE), "nowhere.parquet"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert re.fullmatch(r"error: .*nowhere\.parquet.*\n", capsys.readouterr().err)


def verified(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = run("verify", str(PLACE), "--json", *arguments)
    return code, json.loads(capsys.readouterr().out)


def test_verify_says_what_it_checked_and_exits_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    bundle()
    code, found = verified(capsys=capsys)
    assert (code, found["verdict"], found["bundle"]) == (0, "passed", str(PLACE))
    assert [check["name"] for check in found["checks"]][:3] == ["signature", "digests", "model"]
    assert run("verify", str(PLACE)) == 0
    printed = capsys.readouterr().out
    assert "✓ digests: all 2 files are as the manifest says\n" in printed
    assert "· latency: medians: 1 rows " in printed
    bundle(shift=0.1)
    code, found = verified(capsys=capsys)
    assert (code, found["verdict"]) == (1, "failed")


def test_verify_finds_the_days_latency_in_the_workspace(capsys: pytest.CaptureFixture[str]) -> None:
    bundle()
    write_json(Path("reports/2024-01-05/measurements.json"), {"latency": {"candidate": {"1": {"p50_us": 1e9}}}})
    assert verified("--slowest", "1", capsys=capsys)[0] == 0
    write_json(Path("other.json"), {"latency": {"candidate": {"1": {"p50_us": 1e-9}}}})
    assert verified("--slowest", "1", "--measurements", "other.json", capsys=capsys)[0] == 1


def test_other_columns_may_hold_anything() -> None:
    bundle()
    lines = "".join(f"{n},a,2,{n if n < 300 else 'text'}\n" for n in range(310))
    Path("rows.csv").write_text(f"user,item,price,note\n{lines}")
    assert run("score", str(PLACE), "rows.csv", "--out", "scored.csv") == 0
    assert pl.read_csv("scored.csv", infer_schema_length=None)["note"][-1] == "text"


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pl.Series("price", [date(2024, 1, 1)]), "input price is "),
        (pl.Series("price", [[1.0]]), "input price is "),
        (pl.Series("user", [2**63], pl.UInt64), "input user holds 9223372036854775808, which is no int64"),
        (pl.Series("item", [7]), "input item holds int; the model takes strings"),
        (pl.Series("p_click", [0.5]), "rows.parquet has a column p_click already; drop or rename it."),
    ],
)
def test_columns_of_another_kind_are_told(column: pl.Series, told: str) -> None:
    bundle()
    ROWS[:1].with_columns(column).write_parquet("rows.parquet")
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}"):
        app(["score", str(PLACE), "rows.parquet"])


def test_what_csv_cannot_hold_is_told() -> None:
    bundle()
    ROWS[:1].with_columns(pl.Series("more", [[1, 2]])).write_parquet("rows.parquet")
    with pytest.raises(SettingsError, match=r"^--out x.csv cannot hold these columns: "):
        app(["score", str(PLACE), "rows.parquet", "--out", "x.csv"])


def test_the_rows_are_never_overwritten() -> None:
    bundle()
    ROWS.write_parquet("rows.parquet")
    before = Path("rows.parquet").read_bytes()
    with pytest.raises(SettingsError, match="is the file of the rows, which would be lost"):
        app(["score", str(PLACE), "rows.parquet", "--out", str(Path("rows.parquet").resolve())])
    assert Path("rows.parquet").read_bytes() == before


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_verify_scores_rows_of_ones_own(suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    bundle()
    gap = ROWS.with_columns(pl.when(pl.int_range(pl.len()) == 2).then(None).otherwise(pl.col("item")).alias("item"))
    gap.write_parquet("rows.parquet") if suffix == "parquet" else gap.write_csv("rows.csv")
    code, found = verified("--rows", f"rows.{suffix}", capsys=capsys)
    [rows] = [check for check in found["checks"] if check["name"] == "rows"]
    assert (code, rows["verdict"], rows["text"][:19]) == (0, "passed", "p_click of 20 rows ")
    with pytest.raises(SettingsError, match=r"^rows\.txt: the name must end in "):
        app(["verify", str(PLACE), "--rows", "rows.txt"])


LISTED = served(
    (many("genres", most=2, separator=";"), number("born", reading="date"), number("new", reading="boolean"))
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "genres,born,new\nid 1;id 2;x,1970-01-03,true\n,,\n"),
        ("rows.jsonl", '{"genres":["id 1","id 2","x"],"born":"1970-01-03","new":"yes"}\n{"genres":null}\n'),
    ],
)
def test_lists_dates_and_booleans_are_read_from_text(name: str, text: str) -> None:
    Path(name).write_text(text)
    scorer = scored_by(LISTED)
    want = scorer.score({"genres": [["id 1", "id 2"], []], "born": [2.0, np.nan], "new": [1.0, np.nan]})
    assert run("score", str(BUNDLE), name, "--out", "scored.parquet") == 0
    found = pl.read_parquet("scored.parquet")
    assert found["p_click"].to_list() == pytest.approx(want.tolist())
    assert found.columns == ["genres", "born", "new", "p_click"]


def test_lists_of_parquet_are_kept_beside_their_probability() -> None:
    pl.DataFrame({"genres": [["id 1"], None], "born": [date(1970, 1, 3), None], "new": [True, None]}).write_parquet(
        "rows.parquet"
    )
    want = scored_by(LISTED).score({"genres": [["id 1"], []], "born": [2.0, np.nan], "new": [1.0, np.nan]})
    assert run("score", str(BUNDLE), "rows.parquet", "--out", "scored.parquet") == 0
    assert pl.read_parquet("scored.parquet")["p_click"].to_list() == pytest.approx(want.tolist())


def test_text_that_is_no_such_value_is_said() -> None:
    scored_by(LISTED)
    Path("rows.csv").write_text("genres,born,new\nid 1,yesterday,true\n")
    with pytest.raises(SettingsError, match=r"^rows\.csv: born is not a date: yesterday \(1 rows are such\)$"):
        app(["score", str(BUNDLE), "rows.csv"])
