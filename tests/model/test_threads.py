import torch

from recprune.model.threads import use_threads


def test_torch_computes_with_so_many_threads() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        use_threads(before)
