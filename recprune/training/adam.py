"""Adam (Kingma and Ba 2015), over layers by name."""

from collections.abc import Sequence

import torch
from torch.optim.adam import adam

from recprune.model.line import Line
from recprune.model.network import Tensors

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Adam:
    """Moves layers along their gradients; m and v are those that the line keeps.

    m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², w ← w − rate · m̂ / (√v̂ + ε), m̂ and v̂ without their bias to 0.

    `torch.optim.Adam` does the same by the same function; its class imports torch's compiler besides, which takes
    longer than many a day's pass.
    """

    def __init__(self, line: Line, names: Sequence[str], rate: float) -> None:
        """Take over the line's state.

        Args:
            line: whose moments these are.
            names: of its layers.
            rate: learning rate.
        """
        self.first = {name: line.moments[f"{name}.first"] for name in names}
        self.second = {name: line.moments[f"{name}.second"] for name in names}
        self.steps = line.step
        self._counts = [torch.full((), float(line.step), device=self.first[name].device) for name in names]
        self._rate = rate

    def step(self, layers: Tensors, gradients: Tensors) -> None:
        """Move the layers, in place.

        Args:
            layers: by name, in the order of the names.
            gradients: of them.
        """
        with torch.no_grad():
            adam(
                list(layers.values()),
                [gradients[name] for name in layers],
                list(self.first.values()),
                list(self.second.values()),
                [],
                self._counts,
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=self._rate,
                weight_decay=0.0,
                eps=EPSILON,
                maximize=False,
            )
        self.steps += 1
