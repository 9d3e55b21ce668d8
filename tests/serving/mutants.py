"""Damaged model files, the same at every run, and what ONNX Runtime makes of those that are let through.

Run as a script it loads and scores them in a process of its own: were one to end it, that would be seen from outside.
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort

from recprune.errors import DamagedArtefactError
from recprune.serving.model_file import check_model

FEED = {
    "user": np.array([7, -(2**63), 2**63 - 1], np.int64),
    "item": np.array(["id 1", "", "never seen"], object),
    "shop": np.array(["a", "naïve", "b"], object),
    "price": np.array([2.5, np.nan, 1e30], np.float32),
}


def mutants(whole: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yield damaged copies: bytes changed, bits flipped, bytes gone, bytes put in."""
    draw = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(whole)
        for _ in range(draw.choice((1, 1, 2, 8))):
            at = draw.randrange(len(mutant))
            match draw.randrange(4):
                case 0:
                    mutant[at] = draw.randrange(256)
                case 1:
                    mutant[at] ^= 1 << draw.randrange(8)
                case 2:
                    del mutant[at : at + draw.randrange(1, 9)]
                case _:
                    mutant[at:at] = draw.randbytes(draw.randrange(1, 9))
        yield bytes(mutant)


def let_through(mutant: bytes, file: Path) -> bool:
    """Say whether a model file is let through; refused it must be with a sentence."""
    file.write_bytes(mutant)
    try:
        check_model(file)
    except DamagedArtefactError as error:
        if "was refused before it was loaded" not in str(error):
            raise
        return False
    return True


def load(file: Path) -> bool:
    """Load and score a model file; say whether ONNX Runtime did, for it may refuse what it does not like."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        session.run(None, FEED)
    except Exception:  # noqa: BLE001 - its errors have no common class but this
        return False
    return True


def main(model: Path, folder: Path, first: int, last: int) -> tuple[int, int]:
    """Try mutants `first` to `last`; return how many were let through, and how many of those ONNX Runtime took."""
    whole, passed, loaded = model.read_bytes(), 0, 0
    with (folder / "number").open("w") as told:
        for number in range(first, last):
            told.seek(0)
            told.write(str(number))  # the last one is the one that ended it
            told.flush()
            [mutant] = mutants(whole, number, 1)
            if let_through(mutant, folder / "model.onnx"):
                passed += 1
                loaded += load(folder / "model.onnx")
    return passed, loaded


if __name__ == "__main__":
    print("\n", *main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))  # noqa: T201
