"""Policies by name, with settings of their own: `ads`, `d2s:every=2`, `ads:swap=16:guide=own`."""

import difflib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import yaml

from recprune.config import parse_settings
from recprune.errors import SettingsError
from recprune.pruning.ads import Ads
from recprune.pruning.d2s import DenseToSparse
from recprune.pruning.growth import GrowthPrune
from recprune.pruning.masked import Masked, Prior
from recprune.pruning.policy import Policy
from recprune.pruning.static import Dense, Frozen, Random, ShapeOnly, SmallDense
from recprune.pruning.uniform import Uniform
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
    "uniform": Uniform,
    "gmp": lambda: Masked(method="gmp"),
    "set": lambda: Masked(method="set"),
    "rigl": lambda: Masked(method="rigl"),
    "dsl": lambda: Masked(method="dsl"),
    "dpf": lambda: Masked(method="dpf"),
    "acdc": lambda: Masked(method="acdc"),
    "growth_prune": GrowthPrune,
    "incremental_prior": Prior,
}
COMMON = ("budget", "cost")
"""Settings that a policy cannot have for itself."""


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
    own = sorted({f.name for f in fields(policy)} - {"carves", "needs_dense", "method"})
    known = [] if name == "dense" else [*own, *(key for key in raw if key not in COMMON)]
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in known:
            raise SettingsError(f"--policies: {text}: {_unknown(pair, name, known)}")
        if key in own:
            policy = _with(policy, key, _value(value), text)
        else:
            raw[key] = _value(value)
    return Chosen(text, policy, parse_settings(PruneSettings, raw, f"--policies: {text}"), budget)


def _unknown(pair: str, name: str, known: list[str]) -> str:
    """Say what is wrong with a setting, with the nearest valid name."""
    key = pair.partition("=")[0]
    if key in COMMON:
        return f"{key} is the same for all policies, or they could not be compared: say --budget, or set prune.cost."
    if not known:
        return f"{name} has nothing to set: it is the full model that the others are compared with."
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near and near[0] != key else "."
    return f"{pair!r} is not SETTING=VALUE of {name} ({', '.join(known)}){hint}"


def _value(text: str) -> object:
    """Read a value as params.yaml would; what is no YAML is text."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: a date like 2024-13-45
        return text


def _with(policy: Policy, key: str, value: Any, text: str) -> Policy:
    default = getattr(policy, key)
    kind = type(default)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (isinstance(value, int) and value < 1):
        rule = {int: "a whole number, at least 1", float: "a number", str: "a word"}[kind]
        raise SettingsError(f"--policies: {text}: {key} is {value!r}; it must be {rule}, as {default!r}.")
    try:
        return replace(policy, **{key: value})
    except SettingsError as error:
        raise SettingsError(f"--policies: {text}: {error}") from None
