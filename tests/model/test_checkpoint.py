import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recprune.errors import DamagedArtefactError, NotFiniteError
from recprune.files import MANIFEST, artefact
from recprune.model.checkpoint import check_sound, load_lines, save_lines
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape
from recprune.pruning.shrink import keep_groups, swap_inputs
from tests.networks import FAMILIES, line_of, masked, same, shape_of, tensors_of

DAY = "2024-01-05"
PATH = Path(f"models/{DAY}/pruned")
FILE = PATH / "served.safetensors"
FETCH = f"bring the stored one back with: recprune fetch {DAY}"
REPLACED = f"the file is damaged or was replaced; {FETCH}"
CHANGED = f"{FILE} was changed since the manifest was written; {FETCH} (or run that day, if it was never stored)"

pytestmark = pytest.mark.usefixtures("workspace")


def saved(path: Path = PATH, day: str = DAY, seed: int = 0) -> dict[str, Line]:
    lines = {"dense": line_of(shape_of(), seed), "served": line_of(shape_of(inputs=[0, 4, 11]), seed + 1)}
    save_lines(path, day, lines, {"finite": True})
    return lines


def forge(change: Callable[[Path, dict[str, Any]], object], path: Path = PATH) -> None:
    """Change files or what the manifest says of the lines, with digests that agree: a writer's bug."""
    about = {"lines": json.loads((path / MANIFEST).read_text())["lines"]}
    with artefact(path, "lines", DAY, about) as folder:
        for file in path.glob("*.safetensors"):
            shutil.copy(file, folder)
        change(folder / FILE.name, about["lines"]["served"])


def rename_in_manifest(_file: Path, about: dict[str, Any]) -> None:
    about["tensors"]["weights/top.8.bias"] = about["tensors"].pop("weights/top.0.bias")


def refusal() -> str:
    with pytest.raises(DamagedArtefactError) as caught:
        load_lines(PATH, DAY)
    return str(caught.value)


@pytest.mark.parametrize(
    "shape",
    [
        shape_of(), shape_of(2, 0), shape_of(0, 2), shape_of(3, 1, bottom=(), top=()), shape_of(inputs=[11]),
        shape_of(family="dcn"), shape_of(family="dcn", cross=1, inputs=[0, 8]), shape_of(family="deepfm"),
        shape_of(family="deepfm", inputs=[9, 11]), shape_of(family="autoint", heads=3, attention=2),
        shape_of(family="autoint", inputs=[1, 6], attended=[0, 2]),
    ],
    ids=[
        "both", "ids", "numbers", "linear", "one input", "dcn", "dcn of two columns", "deepfm", "deepfm of pairs alone",
        "autoint", "autoint of two vectors",
    ],
)  # fmt: skip
def test_lines_come_back_as_they_were(shape: Shape) -> None:
    line = line_of(shape)
    lines = {"dense": line, "fresh": new_line(shape, line.sizes, 3), "masked": masked(line_of(shape))}
    save_lines(PATH, DAY, lines, {"finite": True})
    found, manifest = load_lines(PATH, DAY)
    assert same(found["dense"], line)
    assert same(found["masked"], lines["masked"])
    assert same(found["fresh"], new_line(shape, line.sizes, 3))
    assert list(found["dense"].weights) == list(line.weights)
    assert manifest["finite"] is True
    assert manifest["lines"]["dense"]["flops"] == shape.flops()


def test_what_is_loaded_lies_in_memory_like_what_was_never_saved() -> None:
    """Sums of the same numbers differ in their last bit where their memory starts elsewhere."""
    saved()
    found, _ = load_lines(PATH, DAY)
    tensors = [tensor for line in found.values() for tensor in tensors_of(line).values()]
    assert {tensor.data_ptr() % 64 for tensor in tensors} == {0}


def test_the_same_lines_give_the_same_bytes() -> None:
    saved()
    first = {file.name: file.read_bytes() for file in PATH.iterdir()}
    saved()
    assert {file.name: file.read_bytes() for file in PATH.iterdir()} == first


@pytest.mark.parametrize("place", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_a_flipped_bit_is_found_wherever_it_is(place: float) -> None:
    saved()
    content = bytearray(FILE.read_bytes())
    content[round(place * (len(content) - 1))] ^= 0b100
    FILE.write_bytes(bytes(content))
    assert refusal() == CHANGED


def test_a_truncated_file() -> None:
    saved()
    FILE.write_bytes(FILE.read_bytes()[:-7])
    assert refusal() == CHANGED


def test_a_truncated_file_that_the_manifest_agrees_with() -> None:
    saved()
    forge(lambda file, _about: file.write_bytes(file.read_bytes()[:-7]))
    start, end = re.escape(f"{FILE} cannot be read ("), re.escape(f"); {REPLACED}")
    assert re.fullmatch(f"{start}.+{end}", refusal())


def test_a_file_of_another_day() -> None:
    saved()
    other = Path("models/2024-01-04/pruned")
    saved(other, "2024-01-04", seed=5)
    shutil.copy(other / FILE.name, FILE)
    assert refusal() == CHANGED


def test_a_folder_of_another_day() -> None:
    saved(day="2024-01-04")
    assert refusal() == (
        f"{PATH}: day is '2024-01-04', expected '{DAY}'; {FETCH} (or run that day, if it was never stored)"
    )


def test_a_missing_file() -> None:
    saved()
    FILE.unlink()
    assert refusal() == CHANGED.replace("was changed", "is missing")


def test_what_a_cut_and_a_swap_leave_comes_back() -> None:
    for family in FAMILIES:
        dense = masked(line_of(shape_of(3, 1, family=family)))
        kept = {"inputs": torch.tensor([4, 6, 7]), "top.0": torch.tensor([1, 3])}
        small = keep_groups(dense, kept | ({"vectors": torch.tensor([1, 2])} if family == "autoint" else {}))
        lines = {"cut": small, "swapped": swap_inputs(small, [4], [3], dense)}
        save_lines(PATH, DAY, lines, {})
        found, _ = load_lines(PATH, DAY)
        assert all(same(found[name], line) for name, line in lines.items())
        assert found["cut"].sizes == (3, 4, 0)
        assert found["cut"].shape.bottom == ()
        assert found["cut"].origin["top.0"].tolist() == [1, 3]


BIAS = "weights/top.1.bias"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(
            lambda t: t.update({"weights/top.9.bias": t.pop(BIAS)}),
            f"tensor {BIAS} is missing on disk, the network's shape says [4] float32",
            id="renamed",
        ),
        pytest.param(
            lambda t: t.update({"weights/top.9.bias": torch.zeros(4)}),
            "tensor weights/top.9.bias is [4] float32 on disk, the network's shape says no such tensor",
            id="one too many",
        ),
        pytest.param(
            lambda t: t.update({BIAS: torch.zeros(5)}),
            f"tensor {BIAS} is [5] float32 on disk, the network's shape says [4] float32",
            id="shape",
        ),
        pytest.param(
            lambda t: t.update({"weights/embedding": torch.zeros(8, 3)}),
            "tensor weights/embedding is [8, 3] float32 on disk, the network's shape says [7, 3] float32",
            id="rows",
        ),
        pytest.param(
            lambda t: t.update({BIAS: t[BIAS].double()}),
            f"tensor {BIAS} is [4] float64 on disk, the network's shape says [4] float32",
            id="type",
        ),
        pytest.param(
            lambda t: t.update({"importance/inputs": torch.zeros(12)}),
            "tensor importance/inputs is [12] float32 on disk, the network's shape says [3] float32",
            id="importance of another width",
        ),
        pytest.param(
            lambda t: t.update({"importance/top.7": torch.zeros(3)}),
            "tensor importance/top.7 is [3] float32 on disk, the network's shape says no such tensor",
            id="importance of nothing",
        ),
        pytest.param(
            lambda t: t.pop("origin/top.0"),
            "tensor origin/top.0 is missing on disk, the network's shape says [5] int64",
            id="origin gone",
        ),
        pytest.param(
            lambda t: t.update({"origin/top.0": torch.zeros(5)}),
            "tensor origin/top.0 is [5] float32 on disk, the network's shape says [5] int64",
            id="origin of another type",
        ),
        pytest.param(
            lambda t: t.update({"masks/top.0.weight": torch.zeros(5, 3)}),
            "tensor masks/top.0.weight is [5, 3] float32 on disk, the network's shape says [5, 3] bool",
            id="mask of another type",
        ),
        pytest.param(
            lambda t: t.update({"masks/top.0.weight": torch.zeros(5, 4, dtype=torch.bool)}),
            "tensor masks/top.0.weight is [5, 4] bool on disk, the network's shape says [5, 3] bool",
            id="mask of another shape",
        ),
        pytest.param(
            lambda t: t.update({"masks/top.0.bias": torch.zeros(5, dtype=torch.bool)}),
            "tensor masks/top.0.bias is [5] bool on disk, the network's shape says no such tensor",
            id="mask of a bias",
        ),
        pytest.param(
            lambda t: t.update({"extra/top.0.bias.prior": torch.zeros(4)}),
            "tensor extra/top.0.bias.prior is [4] float32 on disk, the network's shape says [5] float32",
            id="a policy's tensor of another shape",
        ),
        pytest.param(
            lambda t: t.update({"extra/top.8.bias.prior": torch.zeros(4)}),
            "tensor extra/top.8.bias.prior is [4] float32 on disk, the network's shape says no such tensor",
            id="a policy's tensor of nothing",
        ),
        pytest.param(
            lambda t: t[BIAS].fill_(float("nan")),
            f"tensor {BIAS} holds values that are not finite",
            id="NaN",
        ),
        pytest.param(
            lambda t: t["numbers/mean"].fill_(float("inf")),
            "tensor numbers/mean holds values that are not finite",
            id="infinity",
        ),
        pytest.param(
            lambda t: t["moments/top.1.bias.first"].copy_(torch.tensor([0, -1e38, 0, 0.5])),
            "optimizer state moments/top.1.bias.first ranges from -1e+38 to 0.5, which training never leaves behind",
            id="moment of 1e38",
        ),
        pytest.param(
            lambda t: t["moments/embedding.square"].copy_(torch.tensor([-0.25, 0, 0, 0, 0, 0, 2.0])),
            "optimizer state moments/embedding.square ranges from -0.25 to 2, which training never leaves behind",
            id="negative square",
        ),
    ],
)
def test_a_line_that_its_manifest_agrees_with_but_is_not_sound(
    change: Callable[[dict[str, Tensor]], object], told: str
) -> None:
    def write(file: Path, about: dict[str, Any]) -> None:
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file)
        about["tensors"] = {key: list(tensor.shape) for key, tensor in tensors.items()}

    saved()
    forge(write)
    assert refusal() == f"{FILE}: {told}; {REPLACED}"


def test_a_manifest_that_lists_other_tensors() -> None:
    saved()
    forge(rename_in_manifest)
    assert refusal() == f"{FILE} holds other tensors than the manifest says; {REPLACED}"


def test_the_way_out_names_a_day_not_a_number_in_the_path() -> None:
    path = Path("7/1234/models/2024-01-05.r2/pruned")
    saved(path)
    forge(rename_in_manifest, path)
    with pytest.raises(DamagedArtefactError, match=r"with: recprune fetch 2024-01-05\.r2$"):
        load_lines(path)


def test_what_could_not_be_loaded_is_not_saved() -> None:
    line = line_of(shape_of())
    line.weights["top.0.bias"][1] = float("inf")
    line.moments["top.0.bias.second"][0] = 1e13
    told = (
        "line served: tensor weights/top.0.bias holds values that are not finite; optimizer state "
        "moments/top.0.bias.second ranges from 3.4e-05 to 1e+13, which training never leaves behind"
    )
    line.moments["top.0.bias.second"][1:] = 3.4e-5
    with pytest.raises(NotFiniteError, match=f"^{re.escape(told)}$"):
        save_lines(PATH, DAY, {"served": line}, {})
    assert not PATH.exists()
    check_sound("served", line_of(shape_of()))


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel what is mapped")
def test_a_table_that_is_mapped_stays_in_its_file() -> None:
    lines = saved()
    mapped = load_lines(PATH, DAY, mapped=True)[0]
    maps = Path("/proc/self/maps")
    assert same(mapped["served"], lines["served"])
    assert str(FILE) in maps.read_text()
    assert list(mapped["served"].weights) == list(lines["served"].weights)
    del mapped
    assert same(load_lines(PATH, DAY)[0]["served"], lines["served"])
    assert str(FILE) not in maps.read_text()
