import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from recprune.serving.latency import measure_latency
from recprune.serving.scorer import Scorer
from tests.lowering.served import rows_of
from tests.serving.test_scorer import BUNDLE, MODEL, bundle, columns

pytestmark = pytest.mark.usefixtures("workspace")


def test_every_scorer_at_every_batch_size() -> None:
    scorer = bundle()
    found = measure_latency({"candidate": scorer, "champion": scorer}, columns(rows_of(MODEL.schema, 5)), [1, 16], 20)
    assert (found["threads"], found["onnxruntime"]) == (1, ort.__version__)
    for name in ("candidate", "champion"):
        assert found["latency"][name].keys() == {"1", "16"}
        for taken in found["latency"][name].values():
            assert 0 < taken["p50_us"] <= taken["p99_us"] < 1e6


def test_the_first_calls_are_not_counted() -> None:
    class Cold(Scorer):
        calls = 0

        def score(self, columns: Mapping[str, Any]) -> NDArray[np.float32]:
            self.calls += 1
            time.sleep(0.3 if self.calls <= 3 else 0)
            return super().score(columns)

    bundle()
    found = measure_latency({"cold": Cold(BUNDLE)}, columns(rows_of(MODEL.schema, 3)), [1], repeats=20)
    assert found["latency"]["cold"]["1"]["p99_us"] < 200_000


def test_calls_alternate() -> None:
    calls = list[tuple[str, int]]()

    class Watched(Scorer):
        def score(self, columns: Mapping[str, Any]) -> NDArray[np.float32]:
            calls.append((name_of[self], len(columns["user"])))
            return super().score(columns)

    bundle()
    scorers = {name: Watched(BUNDLE) for name in "ab"}
    name_of = {scorer: name for name, scorer in scorers.items()}
    measure_latency(scorers, columns(rows_of(MODEL.schema, 3)), [2], repeats=20)
    assert calls == [("a", 2), ("b", 2)] * (20 + 20 // 10 + 1)


def test_without_rows_nothing_is_measured() -> None:
    scorer = bundle()
    found = measure_latency({"candidate": scorer}, columns(rows_of(MODEL.schema, 0)), [1], 5)
    assert found["latency"] == {"candidate": {}}
