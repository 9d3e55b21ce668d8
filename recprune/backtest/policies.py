"""Policies by name, with settings of their own: `ads`, `d2s:every=2`, `ads:swap=16:guide=own`."""

import difflib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace

import yaml

from recprune.config import parse_settings
from recprune.errors import SettingsError
from recprune.pruning.ads import Ads
from recprune.pruning.d2s import DenseToSparse
from recprune.pruning.masked import Masked, Prior
from recprune.pruning.policy import Policy
from recprune.pruning.static import Dense, Frozen, Random, ShapeOnly, SmallDense
from recprune.settings import PruneSettings

POLICIES: dict[str, Callable[[], Policy]] = {
    "dense": Dense,
    "frozen": Frozen,
    "fixed_mask": Policy,
    "small_dense": SmallDense,
    "ads": Ads,
    "d2s": DenseToSparse,
    "shape_only": ShapeOnly,
    "random": Random,
    "gmp": lambda: Masked(method="gmp"),
    "set": lambda: Masked(method="set"),
    "rigl": lambda: Masked(method="rigl"),
    "dsl": lambda: Masked(method="dsl"),
    "dpf": lambda: Masked(method="dpf"),
    "acdc": lambda: Masked(method="acdc"),
    "incremental_prior": Prior,
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A policy as it was asked for."""

    text: str
    """As it is written, for example `ads:swap=16`."""
    policy: Policy
    prune: PruneSettings
    budget: float
    """Share of the dense network's cost."""

    @property
    def name(self) -> str:
        """Return the policy's name without settings."""
        return self.text.partition(":")[0]


def choose(text: str, prune: PruneSettings, budget: float) -> Chosen:
    """Return the policy that a text names.

    Args:
        text: NAME or NAME:SETTING=VALUE:…; a setting is the policy's own or one of the section prune.
        prune: the settings that are not named.
        budget: replaces that of the section; `dense` has none.

    Raises:
        SettingsError: the name, a setting or a value is wrong.
    """
    name, *pairs = text.split(":")
    if name not in POLICIES:
        near = difflib.get_close_matches(name, POLICIES, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise SettingsError(f"--policies: {name!r} is not a policy; it must be one of {', '.join(POLICIES)}{hint}")
    policy, raw = POLICIES[name](), asdict(prune) | {"budget": budget}
    own = {f.name for f in fields(policy)} - {"needs_dense", "method"}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or (key not in own and key not in raw):
            near = difflib.get_close_matches(key, [*own, *raw], n=1)
            raise SettingsError(
                f"--policies: {text}: {pair!r} is not SETTING=VALUE of {name} "
                f"({', '.join([*sorted(own), *raw])}){f'; did you mean {near[0]}?' if near else '.'}"
            )
        if key in own:
            policy = _with(policy, key, yaml.safe_load(value), text)
        else:
            raw[key] = yaml.safe_load(value)
    return Chosen(text, policy, parse_settings(PruneSettings, raw, f"--policies: {text}"), budget)


def _with(policy: Policy, key: str, value: object, text: str) -> Policy:
    kind = type(getattr(policy, key))
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool) or (kind is int and int(str(value)) < 1):
        raise SettingsError(
            f"--policies: {text}: {key} is {value!r}; it must be of the kind of {getattr(policy, key)!r}"
            f"{', at least 1' if kind is int else ''}."
        )
    return replace(policy, **{key: value})
