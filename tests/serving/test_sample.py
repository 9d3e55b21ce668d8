import json
import math
from pathlib import Path

import numpy as np
import pytest

from recprune.errors import DamagedArtefactError
from recprune.serving.sample import read_sample, write_sample

INPUTS = [{"name": "n", "dtype": "float32"}, {"name": "i", "dtype": "int64"}, {"name": "s", "dtype": "string"}]
COLUMNS = {
    "n": np.array([math.nan, math.inf, -math.inf, 0.1, -0.0], np.float32),
    "i": np.array([-(2**63), 2**63 - 1, 0, 1, 2]),
    "s": np.array(["", "NaN", "Infinity", "é", '"'], object),
}
P_CLICK = np.array([0.1, 0.2, 0.3, 0.4, 1e-12], np.float32)


def test_every_value_comes_back_as_it_was(tmp_path: Path) -> None:
    write_sample(tmp_path, COLUMNS, P_CLICK)
    columns, p_click = read_sample(tmp_path, INPUTS)
    for name, dtype in (("n", np.float32), ("i", np.int64)):
        assert np.array(columns[name], dtype).tobytes() == COLUMNS[name].tobytes()
    assert columns["s"] == COLUMNS["s"].tolist(), "words that stand for numbers are ids elsewhere"
    assert p_click.astype(np.float32).tobytes() == P_CLICK.tobytes()


@pytest.mark.parametrize(
    "content",
    ["{}", "[]", "3", '{"columns": {}, "p_click": []}',
     '{"columns": {"n": ["x"], "i": [1], "s": [""]}, "p_click": [1]}',
     '{"columns": {"n": [1], "i": [1, 2], "s": [""]}, "p_click": [1]}',
     '{"columns": {"n": [1], "i": [1], "s": [""]}, "p_click": ["x"]}'],
)  # fmt: skip
def test_what_is_no_sample_is_refused(content: str, tmp_path: Path) -> None:
    json.loads(content)
    (tmp_path / "sample.json").write_text(content)
    with pytest.raises(DamagedArtefactError, match=r"sample\.json is no sample of the bundle's inputs \("):
        read_sample(tmp_path, INPUTS)
