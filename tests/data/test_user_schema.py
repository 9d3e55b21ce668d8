import pytest

from recprune.data.schema import Feature, Schema
from recprune.data.sources.user_schema import user_schema
from recprune.errors import SettingsError
from recprune.settings import FeatureSettings, SchemaSettings

PRICE = FeatureSettings(type="numeric", per="row")
USER = FeatureSettings(type="int64", per="request")
ITEM = FeatureSettings(type="string", per="row")


def test_a_good_schema_keeps_names_order_and_types() -> None:
    settings = SchemaSettings(
        negative_sampling_rate=0.25,
        label="click",
        time="at",
        key=("user", "item"),
        features={"user": USER, "item": ITEM, "price": PRICE},
    )
    assert user_schema(settings) == Schema(
        label="click",
        time="at",
        key=("user", "item"),
        features=(
            Feature(name="user", type="categorical", dtype="int64", per="request"),
            Feature(name="item", type="categorical", dtype="string"),
            Feature(name="price", type="numeric"),
        ),
        negative_sampling_rate=0.25,
    )


def test_label_and_event_time_may_be_called_so_and_the_key_may_be_empty() -> None:
    schema = user_schema(
        SchemaSettings(negative_sampling_rate=1.0, label="label", time="event_time", key=(), features={"user": USER})
    )
    assert (schema.label, schema.time, schema.key) == ("label", "event_time", ())


def test_all_problems_are_reported_together() -> None:
    features = {"click": PRICE, "at": PRICE, "row_hash": ITEM, "": ITEM}
    with pytest.raises(SettingsError) as caught:
        user_schema(
            SchemaSettings(
                negative_sampling_rate=1.0, label="click", time="at", key=("id", "id", "p_click", ""), features=features
            )
        )
    reserved = "recprune uses event_time, label, p_click, row_hash, row_weight for columns of its own: rename yours."
    assert str(caught.value).splitlines() == [
        f"params.yaml: schema.key names 'p_click'; {reserved}",
        "params.yaml: schema.key holds an empty name; remove it (an empty list stands for all columns).",
        "params.yaml: schema.key names 'id' 2 times; once is enough.",
        "params.yaml: schema.features.click is the label, which a model must not see: remove it.",
        "params.yaml: schema.features.at is the event time, which never comes back: add hour or weekday.",
        f"params.yaml: schema.features.row_hash: {reserved}",
        "params.yaml: schema.features has an empty name; name the column.",
    ]


@pytest.mark.parametrize(
    ("label", "time", "problem"),
    [
        ("at", "at", r"^params.yaml: schema.time is 'at', the label too; one column cannot be both\.$"),
        ("", "at", r"^params.yaml: schema.label is empty; name the column that holds it\.$"),
        ("click", "label", r"^params.yaml: schema.time is 'label'; recprune uses .* rename yours\.$"),
        ("p_click", "at", r"^params.yaml: schema.label is 'p_click'; recprune uses .* rename yours\.$"),
    ],
)
def test_label_and_time_have_names_of_their_own(label: str, time: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        user_schema(SchemaSettings(negative_sampling_rate=1.0, label=label, time=time, key=(), features={"user": USER}))
