"""What validation says where the columns are not those of params.yaml."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from recprune.data.sources.file_settings import FilesSettings
from recprune.data.sources.user_schema import user_schema
from recprune.data.vocabulary import Vocabulary
from recprune.files import read_json
from recprune.settings import FeatureSettings, SchemaSettings
from recprune.steps.validate import save_profiles, validate
from tests.makers import DAY, day_of, packaged_text, settings, stored, stream

pytestmark = [
    pytest.mark.usefixtures("workspace"),
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

BLOCK = """schema:
  label: click
  time: at
  key: [request]
  negative_sampling_rate: 1.0
  features:
    user: {type: int64}
    item: {type: string}
    price: {type: numeric}
"""


def verdict(rows: pa.RecordBatch, *, dropped: str = "") -> dict[str, object]:
    """Validate a day; params.yaml has dropped a feature since it was stored, if one is named."""
    features = {"user": "int64", "item": "string", "price": "numeric"}
    own = SchemaSettings(
        label="click",
        time="at",
        key=("request",),
        negative_sampling_rate=1.0,
        features={name: FeatureSettings(type=kind) for name, kind in features.items()},  # type: ignore[arg-type]
    )
    files = FilesSettings(path="logs/{day}.parquet", format="parquet", first_day="2024-01-01")
    packaged = settings(validate={"min_rows": 50}, ingest={"source": "files", "files": files})
    left = {name: kind for name, kind in own.features.items() if name != dropped}
    chosen = replace(packaged, schema=replace(own, features=left))
    block = "".join(line for line in BLOCK.splitlines(keepends=True) if not dropped or f" {dropped}:" not in line)
    Path("params.yaml").write_text(packaged_text().replace("schema: null", block.rstrip() + "\n#"))
    schema = user_schema(own)
    Vocabulary.empty(schema).save(Path("vocab/parent"), "2024-01-04")
    before = {
        "day": "2024-01-04",
        "numeric": {},
        "categorical": {},
        "rows": 400,
        "columns": ["request", "at", "click", "user", "item", "price", "junk"],
    }
    save_profiles([before], chosen.validate, Path("profiles/parent"), "2024-01-04", before)
    stored(day_of(rows, schema=schema), Path(), schema=schema)
    validate(
        chosen, day=str(DAY), events=Path(f"events/{DAY}"), parent_vocabulary=Path("vocab/parent"),
        parent_profiles=Path("profiles/parent"), validation=Path("validation"), profiles=Path("profiles/day"),
    )  # fmt: skip
    return dict(read_json(Path("validation/verdict.json")))


def test_a_column_that_is_gone_is_quarantined_with_the_way_to_follow_it() -> None:
    before = Path("params.yaml")
    rows = stream(1, 400).drop_columns(["price"])
    found = verdict(rows)
    assert found["verdict"] == "quarantined"
    assert str(found["sentence"]).endswith(
        "The champion keeps serving. If the schema changed for good: git apply validation/params.diff makes "
        "params.yaml follow it."
    )
    assert "-    price: {type: numeric}\n" in str(found["proposal"])
    assert Path("validation/params.diff").read_text() == found["proposal"]
    assert "price: {type: numeric}" in before.read_text(), "it is proposed, not applied"


def test_a_new_column_is_told_and_the_day_is_good() -> None:
    rows = stream(1, 400)
    rows = rows.append_column("city", pa.array(["Bonn"] * 400)).append_column("junk", pa.array(["x"] * 400))
    found = verdict(rows)
    assert found["verdict"] == "good"
    assert "New columns, which nothing reads: 'city'. If the schema changed" in str(found["sentence"])
    assert "+    city: {type: string, per: row}\n" in str(found["proposal"])


def test_a_day_as_ever_proposes_nothing() -> None:
    found = verdict(stream(1, 400))
    assert (found["verdict"], found["proposal"]) == ("good", "")


def test_a_day_that_is_replayed_by_the_schema_of_then_proposes_nothing() -> None:
    """The day was stored with `price`, which params.yaml has dropped since."""
    found = verdict(stream(1, 400), dropped="price")
    assert (found["verdict"], found["proposal"]) == ("good", "")
    assert "price" in read_json(Path("profiles/day/profile.json"))["numeric"]
