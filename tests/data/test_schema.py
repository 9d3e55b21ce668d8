import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.schema import Feature, Schema, ids, number
from tests.makers import SCHEMA

_features = st.builds(
    Feature,
    name=st.text(),
    type=st.sampled_from(["numeric", "categorical"]),
    dtype=st.sampled_from(["int64", "string", "float32"]),
    per=st.sampled_from(["row", "request"]),
)


def test_features_are_told_apart() -> None:
    assert [f.name for f in SCHEMA.categorical] == ["user", "item"]
    assert [f.name for f in SCHEMA.numeric] == ["price"]
    assert ids("a", "int64", per="request") == Feature(name="a", type="categorical", dtype="int64", per="request")
    assert number("b").dtype == "float32"


@given(st.lists(_features), st.lists(st.text()), st.text())
def test_a_schema_survives_json(features: list[Feature], key: list[str], name: str) -> None:
    schema = Schema(label=name, time=name, key=tuple(key), features=tuple(features), weight=name)
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_an_unknown_slot_is_refused() -> None:
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'more'"):
        Schema.from_json(SCHEMA.to_json() | {"more": 1})
