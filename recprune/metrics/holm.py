"""Many questions at once, with one error for all of them together."""

from collections.abc import Callable, Sequence


def holm(proves: Sequence[Callable[[float], bool]], error: float) -> float:
    """Return the error at which each of m hypotheses may be rejected, so that any true one is with `error` at most.

    Holm (1979), step down: what is rejected at error / m goes, the others are asked again at error / (m − those gone),
    until none goes; that last error rejects the same hypotheses as the steps did. No independence is needed.

    >>> holm([lambda error: error >= 0.001, lambda error: error >= 0.02, lambda error: error >= 0.4], 0.05)
    0.05

    Args:
        proves: says of each hypothesis whether it is rejected where it alone may be wrongly, with that probability.
        error: of all together.
    """
    left, level = list(proves), error
    while left:
        level = error / len(left)
        stays = [each for each in left if not each(level)]
        if len(stays) == len(left):
            break
        left = stays
    return level
