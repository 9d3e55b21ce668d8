"""Keep a click-through-rate model fresh and cheap: daily warm-start training with an adapting pruning mask."""

__version__ = "0.1.0"
