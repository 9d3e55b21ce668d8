"""The report's own words, for a reader who is new to them."""

TERMS = {
    "NE": "Normalized entropy: a model's log loss divided by that of always guessing the base rate. "
    "Lower is better; 1 is no better than guessing.",
    "Scored first, learned later": "Every number on a day's events was taken before any model learned it.",
    "Dense": "The full network. It learns every day and is never served; it shows what pruning costs.",
    "Served": "The pruned line in training, from which each day's bundle is made.",
    "Champion": "The promoted bundle: the only thing that production uses.",
    "Challenger": "A newly carved network that learns beside the served line until proved better or dropped.",
    "Prune tax": "How much higher the served line's NE is than the dense model's, on the same rows. "
    "Above 0: pruning costs accuracy.",
    "Mask": "Which groups of the dense network the served one keeps: inputs, feature vectors, neurons.",
    "Churn": "Share of the mask that changed: groups kept before or after, but not both, of all kept before or after.",
    "FLOPs kept": "Multiplications and additions for one row, as a share of the dense network's.",
    "Tail": "The last tenth of a day in time, held back from the day's learning. "
    "Half of it calibrates the candidate, the other half judges it.",
    "Interval": "95 %: where the true value plausibly lies. Few rows make it wide.",
    "Smallest detectable difference": "What the rows would have shown in four cases out of five; "
    "a smaller harm goes unseen today.",
    "Held": "The gate proved harm or a hard bound was broken. The champion stays; learning goes on.",
    "Quarantined": "The day's data were refused. Nothing learned from them; the champion stays.",
}

RULES = {
    "finite": "Every loss, gradient and weight stayed a finite number.",
    "schema": "The bundle takes the same inputs as the champion's.",
    "parity": "Largest difference in p_click between ONNX Runtime and torch on real rows.",
    "rounding": "NE of the model in 8 bits against the same network's in fp32, on the day's last rows, learned or not.",
    "budget": "Share of the dense network's FLOPs that the exported network needs.",
    "sparse": "The exported file is smaller than the dense network's, or faster; else it is not called sparse.",
    "size": "The model file, in units of 10⁶ bytes.",
    "latency": "A call of the largest batch, as a multiple of the champion's; calls interleaved.",
    "ne": "NE of the candidate against the champion's, on rows that neither had learned.",
    "floor": "NE of the candidate; 1 is guessing the base rate. It warns where the champion is worse still.",
    "slices": "NE against the champion's on each feature's values, new and known ids, hours; the worst slice. "
    "All slices share one error.",
    "calibration": "Mean prediction divided by the base rate, on the tail; 1 is right.",
    "slice_calibration": "The same on each slice where the candidate is further off than the champion; the worst one.",
    "churn": "Share of the served mask that the day changed; a challenger's takeover is no spike.",
    "rejected": "Share of the day's rows that could not be used.",
    "age": "Days since the champion was made; an old one is warned of.",
}

PHASES = {
    "none": "no carving under way",
    "carving": "a challenger is being carved from the dense model",
    "probation": "a challenger competes with the served line",
}

LAYERS = {"inputs": "inputs of top.0", "vectors": "feature vectors"}


def layer(name: str) -> str:
    """Name a layer for a reader.

    >>> layer("inputs"), layer("top.0")
    ('inputs of top.0', 'top.0, neurons')
    """
    return LAYERS.get(name, f"{name}, neurons")
