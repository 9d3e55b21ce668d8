"""What a policy may do inside a training pass: one view of the line's tensors, called before and after each step."""

from dataclasses import dataclass
from typing import Protocol

from recprune.model.network import Tensors


@dataclass(slots=True)
class StepView:
    """The line's own tensors at one step; what a hook changes in them is changed in the line.

    Layer tensors are named like `top.0.weight` and `top.0.bias`. A hook changes the tensors of `weights`,
    `gradients`, `first` and `second` in place, under `no_grad`; in `masks` and `extra` it may also add
    and replace entries, so that these must be the line's own dictionaries.
    """

    step: int
    """Steps that the line has done before this one, over its whole life."""
    weights: Tensors
    """The fully connected layers."""
    gradients: Tensors
    """Of the batch's mean loss by the *effective* weights, before the optimizer's step; empty in `after`."""
    first: Tensors
    """Adam's first moments."""
    second: Tensors
    """Adam's second moments."""
    masks: Tensors
    """Bool, True where a weight is kept; only of masked tensors. Part of the line, saved with it."""
    extra: Tensors
    """The policy's own float tensors, saved with the line; each is named NAME.something and shaped like the
    layer tensor NAME."""
    begins: bool = True
    """Whether this is the first step of a pass, before which anything may have happened to the line."""


class Hook(Protocol):
    """How a policy acts inside a training pass."""

    def effective(self, weights: Tensors, masks: Tensors) -> Tensors:
        """Return what the forward pass reads instead of the weights, under the same names.

        The gradient of a step is taken by the tensors returned here and applied to the weights as it is.
        It is not chained through this function: a weight that reads as zero gets the gradient at zero.
        """
        ...

    def before(self, view: StepView) -> None:
        """Act once the gradients are there, before the optimizer's step."""
        ...

    def after(self, view: StepView) -> None:
        """Act after the optimizer's step."""
        ...


class NoHook:
    """Do nothing; a policy overrides what it needs.

    >>> NoHook().effective({"top.0.weight": 1}, {})
    {'top.0.weight': 1}
    """

    def effective(self, weights: Tensors, masks: Tensors) -> Tensors:  # noqa: ARG002 – the protocol's signature
        """Return the weights themselves."""
        return weights

    def before(self, view: StepView) -> None:
        """Change nothing."""

    def after(self, view: StepView) -> None:
        """Change nothing."""
