"""`recprune step STEP`: what `dvc.yaml` calls. Paths are arguments; the working directory is the workspace."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from recprune.days import known_day
from recprune.lock import hold
from recprune.settings import read_settings

app = typer.Typer(
    help="Run one step on explicit paths, as dvc.yaml does. "
    "To run a step of a day, use: recprune run --day D --only STEP",
    no_args_is_help=True,
)

Day = Annotated[str, typer.Option(help="The day, YYYY-MM-DD.")]
In = Annotated[Path, typer.Option(help="Read from here.")]
Out = Annotated[Path, typer.Option(help="Written here, replaced as a whole.")]


def _run(step: Callable[..., None], given: dict[str, Any]) -> None:
    """Run a step with the arguments of its command, which bear the same names."""
    known_day(given["day"])  # it becomes part of paths
    with hold("step", f"recprune step {step.__name__} --day {given['day']}", wait=True):
        step(read_settings(Path()), **given)


@app.command()
def ingest(day: Day, events: Out, rejected: Out) -> None:
    """Read the day from the source; set aside rejected, duplicate and late rows with a reason each."""
    given = dict(locals())
    from recprune.steps.ingest import ingest as step

    _run(step, given)


@app.command()
def validate(day: Day, events: In, parent_vocabulary: In, parent_profiles: In, validation: Out, profiles: Out) -> None:
    """Profile the day and let Great Expectations judge it; the verdict is a file, the exit code stays 0."""
    given = dict(locals())
    from recprune.steps.validate import validate as step

    _run(step, given)


@app.command()
def featurize(
    day: Day,
    events: In,
    validation: In,
    parent_events: In,
    parent_features: In,
    parent_vocabulary: In,
    vocabulary: Out,
    features: Out,
) -> None:
    """Encode the day twice: with the parent's vocabulary for scoring, with its own for learning."""
    given = dict(locals())
    from recprune.steps.featurize import featurize as step

    _run(step, given)


@app.command()
def train(
    day: Day,
    features: In,
    parent_features: In,
    parent_model: In,
    parent_vocabulary: In,
    served_model: In,
    served_vocabulary: In,
    trained: Out,
    scores: Out,
) -> None:
    """Score the day with every line, then give each one incremental pass."""
    given = dict(locals())
    from recprune.steps.train import train as step

    _run(step, given)


@app.command()
def prune(day: Day, trained: In, features: In, scores: In, pruned: Out, report: Out) -> None:
    """Adapt the served line's mask; decide on challengers; advance a carving."""
    given = dict(locals())
    from recprune.steps.prune import prune as step

    _run(step, given)


@app.command()
def export(day: Day, pruned: In, vocabulary: In, features: In, events: In, bundle: Out, measurements: Out) -> None:
    """Lower the served network to ONNX and prove its parity with torch on real rows."""
    given = dict(locals())
    from recprune.steps.export import export as step

    _run(step, given)


@app.command()
def evaluate(
    day: Day,
    champion_day: Annotated[str, typer.Option(help="The day of the champion's bundle.")],
    bundle: In,
    champion: In,
    events: In,
    features: In,
    next_day: In,
    parent_pooled: In,
    report: Out,
    measurements: Out,
    pooled: Out,
) -> None:
    """Run candidate and champion through ONNX Runtime on rows that neither has learned."""
    given = dict(locals())
    from recprune.steps.evaluate import evaluate as step

    _run(step, given)


@app.command()
def gate(
    day: Day,
    validation: In,
    prune_report: In,
    evaluation: In,
    measurements: In,
    delivered: In,
    pooled: In,
    report: Out,
    metrics: Out,
) -> None:
    """Apply every rule; the verdict is a file, the exit code stays 0."""
    given = dict(locals())
    from recprune.steps.gate import gate as step

    _run(step, given)
