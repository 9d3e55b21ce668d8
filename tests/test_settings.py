from pathlib import Path

import pytest
import yaml

from recprune.config import parse_settings
from recprune.errors import SettingsError
from recprune.settings import Settings, ValidateSettings, read_settings
from tests.makers import packaged_params


def test_the_packaged_settings_are_valid(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(packaged_params()))
    settings = read_settings(tmp_path)
    assert (settings.ingest.source, settings.schema, settings.prune.budget) == ("simulator", None, 0.2)


def test_a_schema_of_the_users_own_is_read() -> None:
    raw = packaged_params()
    features = {"user": {"type": "int64", "per": "request"}, "price": {"type": "numeric", "per": "row"}}
    raw["schema"] = {"label": "click", "time": "at", "key": [], "negative_sampling_rate": 0.1, "features": features}
    schema = parse_settings(Settings, raw, "params.yaml").schema
    assert schema is not None
    assert (list(schema.features), schema.features["user"].type) == (["user", "price"], "int64")


def test_problems_of_several_sections_are_told_together() -> None:
    raw = packaged_params()
    raw["prune"] |= {"budget": 1.2}
    raw["prune"]["refesh_threshold"] = raw["prune"].pop("refresh_threshold")
    raw["ingest"]["source"] = "complete_journey"
    raw["validate"]["base_rate"] = [0.9, 0.1]
    raw["gate"]["confidence"] = 1
    del raw["plan"]
    raw["plans"] = {}
    with pytest.raises(SettingsError) as caught:
        parse_settings(Settings, raw, "params.yaml")
    assert str(caught.value).splitlines() == [
        "params.yaml: plans is not a setting; did you mean plan?",
        (
            "params.yaml: ingest.source is 'complete_journey'; it must be one of simulator, "
            "complete-journey, nycflights13, files, criteo, avazu, movielens, mind; did you mean complete-journey?"
        ),
        "params.yaml: validate: base_rate is [0.9, 0.1]; it must be [lowest, highest].",
        "params.yaml: prune.refesh_threshold is not a setting; did you mean refresh_threshold?",
        "params.yaml: prune.budget is 1.2; it must lie in (0, 1].",
        "params.yaml: prune.refresh_threshold is missing; every setting is written out.",
        "params.yaml: gate.confidence is 1; it must lie in (0.5, 1).",
        "params.yaml: plan is missing; every setting is written out.",
    ]


@pytest.mark.parametrize("base_rate", [[], [0.1], [0.1, 0.2, 0.3], [0.2, 0.2]])
def test_the_base_rate_is_an_interval(base_rate: list[float]) -> None:
    raw = packaged_params()["validate"] | {"base_rate": base_rate}
    with pytest.raises(SettingsError, match=r"it must be \[lowest, highest\]\.$"):
        parse_settings(ValidateSettings, raw, "params.yaml")


def test_a_budget_may_be_a_latency() -> None:
    raw = packaged_params()
    raw["prune"]["budget"] = "p99 <= 0.4 ms @ 128"
    assert parse_settings(Settings, raw, "params.yaml").prune.budget == "p99 <= 0.4 ms @ 128"
    raw["prune"]["budget"] = "p98 <= 0.4 ms @ 128"
    with pytest.raises(SettingsError, match=r"^params\.yaml: prune: 'p98 <= 0\.4 ms @ 128': p98 is no percentile"):
        parse_settings(Settings, raw, "params.yaml")


def test_heads_share_the_width_of_an_embedding() -> None:
    raw = packaged_params()
    raw["model"] |= {"family": "autoint", "attention_heads": 3}
    with pytest.raises(SettingsError, match=r"attention_heads is 3, embedding 16; the heads share"):
        parse_settings(Settings, raw, "params.yaml")
