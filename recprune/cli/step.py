"""`recprune step STEP`: what `dvc.yaml` calls. Paths are arguments; the working directory is the workspace."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

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


def _run(step: Callable[..., None], day: str, **paths: Any) -> None:
    with hold("step", f"recprune step {step.__name__} --day {day}", wait=True):
        step(read_settings(Path()), day=day, **paths)


@app.command()
def ingest(day: Day, events: Out, rejected: Out) -> None:
    """Read the day from the source; set aside rejected, duplicate and late rows with a reason each."""
    from recprune.steps import ingest as step

    _run(step.ingest, day, events=events, rejected=rejected)


@app.command()
def validate(day: Day, events: In, parent_vocabulary: In, parent_profiles: In, validation: Out, profiles: Out) -> None:
    """Profile the day and let Great Expectations judge it; the verdict is a file, the exit code stays 0."""
    from recprune.steps import validate as step

    _run(
        step.validate,
        day,
        events=events,
        parent_vocabulary=parent_vocabulary,
        parent_profiles=parent_profiles,
        validation=validation,
        profiles=profiles,
    )


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
    from recprune.steps import featurize as step

    _run(
        step.featurize,
        day,
        events=events,
        validation=validation,
        parent_events=parent_events,
        parent_features=parent_features,
        parent_vocabulary=parent_vocabulary,
        vocabulary=vocabulary,
        features=features,
    )


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
    from recprune.steps import train as step

    _run(
        step.train,
        day,
        features=features,
        parent_features=parent_features,
        parent_model=parent_model,
        parent_vocabulary=parent_vocabulary,
        served_model=served_model,
        served_vocabulary=served_vocabulary,
        trained=trained,
        scores=scores,
    )


@app.command()
def prune(day: Day, trained: In, features: In, scores: In, pruned: Out, report: Out) -> None:
    """Adapt the served line's mask; decide on challengers; advance a carving."""
    from recprune.steps import prune as step

    _run(step.prune, day, trained=trained, features=features, scores=scores, pruned=pruned, report=report)


@app.command()
def export(day: Day, pruned: In, vocabulary: In, features: In, events: In, bundle: Out) -> None:
    """Lower the served network to ONNX and prove its parity with torch on real rows."""
    from recprune.steps import export as step

    _run(
        step.export,
        day,
        pruned=pruned,
        vocabulary=vocabulary,
        features=features,
        events=events,
        bundle=bundle,
    )


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
    from recprune.steps import evaluate as step

    _run(
        step.evaluate,
        day,
        champion_day=champion_day,
        bundle=bundle,
        champion=champion,
        events=events,
        features=features,
        next_day=next_day,
        parent_pooled=parent_pooled,
        report=report,
        measurements=measurements,
        pooled=pooled,
    )


@app.command()
def gate(
    day: Day,
    validation: In,
    prune_report: In,
    evaluation: In,
    measurements: In,
    pooled: In,
    report: Out,
    metrics: Out,
) -> None:
    """Apply every rule; the verdict is a file, the exit code stays 0."""
    from recprune.steps import gate as step

    _run(
        step.gate,
        day,
        validation=validation,
        prune_report=prune_report,
        evaluation=evaluation,
        measurements=measurements,
        pooled=pooled,
        report=report,
        metrics=metrics,
    )
