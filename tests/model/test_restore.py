import math
import re

import polars as pl
import pytest
import torch

from recprune.data.ids import Admission
from recprune.data.schema import Schema, ids
from recprune.data.vocabulary import Vocabulary
from recprune.errors import DamagedArtefactError
from recprune.model import network
from recprune.model.line import Line, new_line
from recprune.model.restore import PARITY, check_restore, remap_rows
from recprune.pruning.shrink import keep_groups
from tests.networks import shape_of

SCHEMA = Schema(label="l", time="t", key=(), features=(ids("c0"), ids("c1", "int64")))


def vocabulary(words: str, numbers: list[int]) -> Vocabulary:
    """Admit these ids, in their order (rows follow the order of the days that they came in)."""
    found = Vocabulary.empty(SCHEMA)
    for n in range(max(len(words), len(numbers))):
        word, number = words[min(n, len(words) - 1)], numbers[min(n, len(numbers) - 1)]
        found = found.learn(pl.DataFrame({"c0": [word], "c1": [number]}), Admission(1))
    return found


def labelled(known: Vocabulary) -> Line:
    """Return a line whose row r of the table holds r in every column, and r / 10 as optimizer state."""
    line = new_line(shape_of(2, 0), known.sizes(), 0)
    rows = torch.arange(float(sum(known.sizes())))
    line.weights["embedding"] = rows.unsqueeze(1).repeat(1, 3)
    line.moments["embedding.square"] = rows / 10
    return line


def test_rows_follow_their_ids() -> None:
    old, new = vocabulary("ab", [10, 20]), vocabulary("xba", [20, 30])
    line = labelled(old)  # unknown a b | unknown 10 20
    remap_rows(line, old, new, seed=4)  # unknown x b a | unknown 20 30
    fresh = network.initial_rows(7, 3, torch.Generator().manual_seed(4))
    found = line.weights["embedding"]
    assert line.sizes == (4, 3)
    assert found[[0, 2, 3, 4, 5], 0].tolist() == [0, 2, 1, 3, 5]
    assert torch.equal(found[[1, 6]], fresh[[1, 6]])
    assert line.moments["embedding.square"].tolist() == pytest.approx([0, 0, 0.2, 0.1, 0.3, 0.5, 0])


def test_a_feature_that_is_not_read_has_no_rows_to_remap() -> None:
    old, new = vocabulary("ab", [10, 20]), vocabulary("xba", [20, 30])
    whole = labelled(old)  # unknown a b | unknown 10 20
    for inputs, left, rows in ((range(3), (3, 0), [0, 1, 2]), (range(3, 6), (0, 3), [3, 4, 5])):
        line = keep_groups(whole, {"inputs": torch.tensor(inputs)})
        assert (line.sizes, line.weights["embedding"][:, 0].tolist()) == (left, rows)
        remap_rows(line, old, new, seed=4)
        found = [round(x, 4) for x in line.weights["embedding"][:, 0].tolist()]
        fresh = network.initial_rows(len(found), 3, torch.Generator().manual_seed(4))[:, 0].tolist()
        wanted = {(3, 0): [0, None, 2, 1], (0, 3): [3, 5, None]}[left]  # unknown x b a | unknown 20 30
        assert found == [round(fresh[i], 4) if w is None else w for i, w in enumerate(wanted)]
        square = [0 if w is None else w / 10 for w in wanted]
        assert line.moments["embedding.square"].tolist() == pytest.approx(square)
        assert line.sizes == tuple(size if n else 0 for size, n in zip(new.sizes(), left, strict=True))


def test_the_same_vocabulary_changes_nothing() -> None:
    known = vocabulary("abc", [3, 1, 2])
    line, before = labelled(known), labelled(known)
    remap_rows(line, known, known, seed=1)
    assert torch.equal(line.weights["embedding"], before.weights["embedding"])
    assert torch.equal(line.moments["embedding.square"], before.moments["embedding.square"])


def test_a_vocabulary_of_another_day_is_refused() -> None:
    line = labelled(vocabulary("ab", [10]))
    told = (
        "the line has (3, 2) embedding rows, its vocabulary (4, 2): they are not of one day; "
        "bring both back with: recprune fetch DAY"
    )
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        remap_rows(line, vocabulary("abc", [10]), vocabulary("ab", [10]), seed=1)


def test_parity_holds() -> None:
    told = check_restore("served", "2024-01-04", 0.5, 0.5 + PARITY / 2)
    assert told == "served: restored, loss 0.500005 on the tail of 2024-01-04 as recorded"


def test_without_a_tail_it_says_so() -> None:
    told = check_restore("dense", "2024-01-04", None, math.nan)
    assert told == "dense: 2024-01-04 has no tail, so that restore parity cannot be checked"


@pytest.mark.parametrize(
    ("recorded", "found", "before", "now"),
    [
        (0.5, 0.5002, "0.500000", "0.500200"),
        (0.5, math.nan, "0.500000", "nan"),  # a broken line is not an empty tail
        (0.5, math.inf, "0.500000", "inf"),
        (None, 0.5, "none", "0.500000"),
    ],
)
def test_another_loss_is_no_restore(recorded: float | None, found: float, before: str, now: str) -> None:
    told = (
        f"line served of 2024-01-04 has loss {now} on 2024-01-04's tail, but {before} was recorded when it was "
        "stored: the restored model is not the stored one; bring it back with: recprune fetch 2024-01-04"
    )
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        check_restore("served", "2024-01-04", recorded, found)
