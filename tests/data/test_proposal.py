import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.proposal import column_types, new_columns, proposed_diff
from recprune.data.schema import Schema, ids, number

PARAMS = """\
ingest:
  source: files

schema:
  label: click
  features: # what the model may see
    user: {type: int64, per: request} # who
    item:
      type: string
      per: row
    price: {type: numeric, per: row}

validate:
  window: 14
"""
SCHEMA = Schema(
    label="click",
    time="at",
    key=("id",),
    features=(ids("user", "int64", "request"), ids("item"), number("price")),
)
GOOD = {"id": "string", "at": "date", "click": "int64", "user": "int64", "item": "string", "price": "numeric"}


def diff(columns: dict[str, str], new: list[str] | None = None, text: str = PARAMS, *, typed: bool = True) -> str:
    return proposed_diff(text, columns, SCHEMA, new or [], typed=typed)


def applied(found: str, folder: Path, text: str = PARAMS) -> dict[str, object]:
    """Let git apply a diff and return the features that params.yaml then has."""
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    (folder / "params.yaml").write_text(text)
    (folder / "params.diff").write_text(found)
    subprocess.run(["git", "apply", "params.diff"], cwd=folder, check=True)
    return dict(yaml.safe_load((folder / "params.yaml").read_text())["schema"]["features"])


def test_a_column_that_is_gone_would_go(tmp_path: Path) -> None:
    found = diff({name: word for name, word in GOOD.items() if name != "item"})
    assert found == (
        "--- a/params.yaml\n+++ b/params.yaml\n@@ -5,9 +5,6 @@\n"
        "   label: click\n   features: # what the model may see\n     user: {type: int64, per: request} # who\n"
        "-    item:\n-      type: string\n-      per: row\n     price: {type: numeric, per: row}\n \n validate:\n"
    )
    assert list(applied(found, tmp_path)) == ["user", "price"]


def test_a_type_that_changed_would_follow(tmp_path: Path) -> None:
    found = applied(diff(GOOD | {"user": "string", "item": "int64"}), tmp_path)
    assert found["user"] == {"type": "string", "per": "request"}
    assert found["item"] == {"type": "int64", "per": "row"}
    assert found["price"] == {"type": "numeric", "per": "row"}


def test_a_new_column_would_come(tmp_path: Path) -> None:
    found = applied(diff(GOOD | {"city": "string"}, ["city"]), tmp_path)
    assert list(found.items())[-1] == ("city", {"type": "string", "per": "row"})


def test_good_columns_change_nothing() -> None:
    assert diff(GOOD) == ""
    assert diff(GOOD | {"price": "int64"}) == "", "whole numbers are numbers"
    assert diff(GOOD | {"user": "string"}, typed=False) == "", "in a text file every column is text"
    assert diff(GOOD, text="schema: null\n") == ""


def test_new_are_columns_that_the_last_good_day_did_not_have() -> None:
    columns = GOOD | {"city": "string", "junk": "string"}
    assert new_columns(columns, SCHEMA, [*GOOD, "junk"]) == ["city"]
    assert new_columns(columns, SCHEMA, None) == [], "nothing is known of the day before"


@given(st.text(min_size=1, max_size=20).filter(lambda name: name not in GOOD))
def test_a_name_from_the_data_is_a_name_and_nothing_else(name: str) -> None:
    found = diff(GOOD | {name: "string"}, [name])
    added = [line[1:] for line in found.split("\n") if line.startswith("+") and not line.startswith("+++")]
    assert len(added) == 1
    assert yaml.safe_load(added[0]) == {name: {"type": "string", "per": "row"}}


@pytest.mark.parametrize(
    ("kind", "word"),
    [(pa.int8(), "int64"), (pa.float64(), "numeric"), (pa.bool_(), "boolean"), (pa.string(), "string"),
     (pa.timestamp("us"), "date"), (pa.list_(pa.string()), ""), (pa.binary(), "")],
)  # fmt: skip
def test_types_by_their_word_in_the_settings(kind: pa.DataType, word: str) -> None:
    assert column_types(pa.schema([("a", kind)]), text=False) == {"a": word}
    assert column_types(pa.schema([("a", kind)]), text=True) == {"a": "string"}
