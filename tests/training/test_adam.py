import subprocess
import sys

import torch

from recprune.training.adam import Adam
from tests.networks import line_of, shape_of


def test_it_moves_layers_as_the_class_of_torch_does_to_the_byte() -> None:
    line = line_of(shape_of())
    names = line.layer_names()
    ours = {name: line.weights[name].clone() for name in names}
    theirs = {name: line.weights[name].clone().requires_grad_() for name in names}
    adam, reference = Adam(line, names, 0.01), torch.optim.Adam(theirs.values(), lr=0.01, fused=True)
    for name, tensor in theirs.items():
        moments = {
            "exp_avg": line.moments[f"{name}.first"].clone(),
            "exp_avg_sq": line.moments[f"{name}.second"].clone(),
        }
        reference.state[tensor] = {"step": torch.tensor(float(line.step)), **moments}
    chance = torch.Generator().manual_seed(1)
    for _ in range(5):
        gradients = {name: torch.randn(tensor.shape, generator=chance) for name, tensor in ours.items()}
        for name, tensor in theirs.items():
            tensor.grad = gradients[name].clone()
        adam.step(ours, gradients)
        reference.step()
    assert adam.steps == line.step + 5
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor.detach())
        assert torch.equal(adam.first[name], reference.state[tensor]["exp_avg"])
        assert torch.equal(adam.second[name], reference.state[tensor]["exp_avg_sq"])


def test_a_pass_does_not_load_the_compiler_of_torch() -> None:
    code = (
        "import sys\nfrom recprune.training.incremental import learn\n"
        "from tests.networks import TRAIN, events_for, line_of, shape_of\n"
        "line = line_of(shape_of())\nlearn(line, events_for(line, 200), TRAIN, 1)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
