"""What changed between the network that a day continues and the one that the settings ask for, and what of it fits.

Imports no torch: the plan names the change before anything is computed, `refit` carries it out.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from recprune.data.change import kind
from recprune.data.schema import Schema
from recprune.settings import ModelSettings

NUMERIC = "numeric float32"
"""What `kinds` says of a number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Structure:
    """Sizes of a dense network; a field that its family does not have is 0 or empty."""

    family: str
    embedding: int
    bottom: tuple[int, ...]
    top: tuple[int, ...]
    cross: int
    attention: int
    heads: int
    numbers: bool
    """Whether there are numbers, and so a bottom tower."""

    @classmethod
    def of(cls, shape: Mapping[str, Any]) -> "Structure":
        """Return the structure of a shape as JSON, as a model's manifest has it."""
        values: dict[str, Any] = {f.name: shape[f.name] for f in fields(cls) if f.name != "numbers"}
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**values, numbers=bool(shape["numeric"]))

    @classmethod
    def asked(cls, schema: Schema, model: ModelSettings) -> "Structure":
        """Return what the settings ask for."""
        attends = model.family == "autoint"
        return cls(
            family=model.family,
            embedding=model.embedding,
            bottom=model.bottom if schema.numeric else (),
            top=model.top,
            cross=model.cross_layers if model.family == "dcn" else 0,
            attention=model.attention_layers if attends else 0,
            heads=model.attention_heads if attends else 1,
            numbers=bool(schema.numeric),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What a day's network keeps of the one before, and what it cannot keep."""

    kept: tuple[str, ...]
    """Features that both have, of one type."""
    new: tuple[str, ...]
    gone: tuple[str, ...]
    retyped: tuple[str, ...]
    """Features whose type changed: they start fresh, as their values mean something else."""
    before: Structure
    after: Structure
    other: tuple[str, ...] = ()
    """What else of the schema changed, in words."""

    @property
    def is_none(self) -> bool:
        """Say whether nothing changed."""
        return not (self.new or self.gone or self.retyped or self.other) and self.before == self.after

    @property
    def rows_fit(self) -> bool:
        """Say whether embedding rows can be kept; where not, nothing else is either."""
        return self.before.embedding == self.after.embedding

    @property
    def bottom_fits(self) -> bool:
        """Say whether the numbers' tower can be kept, were there numbers before and after."""
        return self.rows_fit and len(self.before.bottom) == len(self.after.bottom)

    @property
    def top_fits(self) -> bool:
        """Say whether the layers above the vectors can be kept: what they compute on is the same."""
        rest = [(s.family, s.cross, s.attention, s.heads, len(s.top), s.embedding) for s in (self.before, self.after)]
        return rest[0] == rest[1]

    @property
    def carved_fits(self) -> bool:
        """Say whether a carved network can be kept; where not, the served line starts again from the dense one."""
        return self.top_fits and (self.bottom_fits or not (self.before.numbers and self.after.numbers))

    def sentences(self) -> list[str]:
        """Say what changed and what becomes of it, a sentence each."""
        told = [f"{what}: {', '.join(names)}" for what, names in self._features() if names]
        sizes = self._sizes()
        told += [f"{name} is {after}, was {before}" for name, before, after in sizes]
        told += self.other
        return [*told, *self._outcome(bool(sizes))] if told else []

    def _features(self) -> list[tuple[str, tuple[str, ...]]]:
        return [("new features", self.new), ("features gone", self.gone), ("of another type", self.retyped)]

    def _sizes(self) -> list[tuple[str, Any, Any]]:
        before, after = asdict(self.before), asdict(self.after)
        left_out = {"numbers"} if self.before.numbers and self.after.numbers else {"numbers", "bottom"}
        names = {"cross": "cross_layers", "attention": "attention_layers", "heads": "attention_heads"}
        return [
            (f"model.{names.get(name, name)}", _show(before[name]), _show(value))
            for name, value in after.items()
            if value != before[name] and name not in left_out
        ]

    def _outcome(self, resized: bool) -> list[str]:
        if not (self.new or self.gone or self.retyped or resized):
            return []
        if not self.rows_fit:
            return ["nothing of the old network fits: every line starts fresh, and a carving starts"]
        kept = f"the embedding rows and weights of {', '.join(self.kept)} are kept" if self.kept else ""
        fresh = ", ".join([*self.new, *self.retyped])
        told = [kept or "no feature is kept", f"{fresh} start fresh, at weight 0" if fresh else ""]
        told.append("" if self.top_fits else "the layers above the vectors start fresh")
        told.append(
            "" if self.carved_fits else "the served line starts again, narrow and uniform, and a carving starts"
        )
        return [sentence for sentence in told if sentence]

    def to_json(self) -> dict[str, Any]:
        """Return what the plan keeps."""
        names = {name: list(getattr(self, name)) for name in ("kept", "new", "gone", "retyped")}
        return {**names, "served_restarts": not self.carved_fits, "sentences": self.sentences()}


def _show(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def kinds(schema: Schema) -> dict[str, str]:
    """Return what each feature's values are, by name.

    >>> from recprune.data.schema import ids, number
    >>> kinds(Schema(label="y", time="t", key=(), features=(ids("a", "int64"), number("b"))))
    {'a': 'categorical int64', 'b': 'numeric float32'}
    """
    return {f.name: kind(f) for f in schema.features}


def change_of(
    before: Structure, was: Mapping[str, str], schema: Schema, model: ModelSettings, other: tuple[str, ...] = ()
) -> Change:
    """Compare what a day continues with what the settings ask for.

    Args:
        before: of the dense network that the day continues.
        was: what each of its features' values were, by name; see `kinds`.
        schema: the day's.
        model: what the settings ask for.
        other: what else changed, in words.
    """
    now = kinds(schema)
    return Change(
        kept=tuple(name for name in now if was.get(name) == now[name]),
        new=tuple(name for name in now if name not in was),
        gone=tuple(name for name in was if name not in now),
        retyped=tuple(name for name in now if name in was and was[name] != now[name]),
        before=before,
        after=Structure.asked(schema, model),
        other=other,
    )


def other_changes(old: Schema, schema: Schema) -> tuple[str, ...]:
    """Say what changed of a schema beside its features' names and types."""
    plain = ("label", "time", "key", "weight", "negative_sampling_rate", "label_delay_days")
    values = [(f"schema.{name}", getattr(old, name), getattr(schema, name)) for name in plain]
    before = {f.name: f for f in old.features}
    values += [
        (f"schema.features.{f.name}.{part}", getattr(before.get(f.name, f), part), getattr(f, part))
        for f in schema.features
        for part in ("per", "most", "separator", "reading", "pooling")
        if part != "pooling" or (f.pooling and before.get(f.name, f).pooling)
    ]
    return tuple(f"{name} is {_show(now)!r}, was {_show(was)!r}" for name, was, now in values if was != now)


def inputs_digest(inputs: object) -> str:
    """Return twelve digits that stand for a list of a bundle's inputs, to be accepted by (`gate.accept_inputs`)."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]
