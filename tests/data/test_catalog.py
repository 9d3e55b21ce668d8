from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import recprune
from recprune.config import parse_settings
from recprune.data.sources.catalog import open_source
from recprune.data.sources.file_settings import FilesSettings
from recprune.errors import SettingsError
from recprune.settings import FeatureSettings, IngestSettings, SchemaSettings, SourceName

SCHEMA = SchemaSettings(
    negative_sampling_rate=1.0,
    label="click",
    time="at",
    key=(),
    features={"user": FeatureSettings(type="int64", per="request")},
)
FILES = FilesSettings(path="logs/{day}.csv", format="csv", first_day="2024-01-01")


@pytest.fixture
def ingest() -> IngestSettings:
    template = Path(recprune.__file__).parent / "templates/params.yaml.template"
    return parse_settings(IngestSettings, yaml.safe_load(template.read_text())["ingest"], "params.yaml")


@pytest.mark.parametrize("name", ["simulator", "complete-journey", "nycflights13", "files"])
def test_every_source_opens_under_its_name(ingest: IngestSettings, name: SourceName) -> None:
    source = open_source(replace(ingest, source=name, files=FILES), SCHEMA)
    assert source.name == name
    assert source.text == (name == "files")
    assert source.schema().features


@pytest.mark.parametrize(
    ("files", "schema", "named"),
    [(None, None, "ingest.files and schema"), (None, SCHEMA, "ingest.files"), (FILES, None, "schema")],
)
def test_files_need_both_settings(
    ingest: IngestSettings, files: FilesSettings | None, schema: SchemaSettings | None, named: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        open_source(replace(ingest, source="files", files=files), schema)
    assert str(caught.value) == (
        f"params.yaml: ingest.source is files, but {named} must not be null; ingest.files says where your "
        "files lie and schema what their columns mean: write both, or choose another ingest.source "
        "(simulator, complete-journey, nycflights13)."
    )
