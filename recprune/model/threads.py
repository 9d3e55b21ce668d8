"""How many threads torch computes with: results depend on it to the last bit, so that settings fix it."""

import torch


def use_threads(count: int) -> None:
    """Let torch compute with this many threads."""
    torch.set_num_threads(count)
