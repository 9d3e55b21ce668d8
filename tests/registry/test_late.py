import pytest

from recprune.errors import DamagedArtefactError
from recprune.registry.late import LATE, Late, note, read_late, unchosen

pytestmark = pytest.mark.usefixtures("workspace")
FOUND = Late(day="2024-01-02", delivered="a", choice="found", told="3 rows added")


def test_the_last_word_on_a_day_counts() -> None:
    assert read_late() == {}
    note(FOUND)
    assert unchosen(["2024-01-01", "2024-01-02"]) == [FOUND]
    assert unchosen(["2024-01-01"]) == []
    chosen = Late(day="2024-01-02", delivered="a", choice="ignore", told="three rows of 900")
    note(chosen)
    assert unchosen(["2024-01-02"]) == []
    assert read_late() == {"2024-01-02": chosen}
    note(Late(day="2024-01-02", delivered="b", choice="found", told="again"))
    assert [late.delivered for late in unchosen(["2024-01-02"])] == ["b"]


@pytest.mark.parametrize(
    "line", ["{", "7", '{"choice": "found"}', '{"choice": "delete", "day": "", "delivered": "", "told": ""}']
)
def test_a_line_that_nobody_wrote_is_named(line: str) -> None:
    LATE.parent.mkdir(exist_ok=True)
    LATE.write_text(line + "\n")
    with pytest.raises(DamagedArtefactError, match=r"late\.jsonl: line 1 cannot be read"):
        read_late()
