"""The sources by their name in `params.yaml`. Each is imported only when it is asked for."""

from recprune.data.sources.source import Source
from recprune.errors import SettingsError
from recprune.settings import IngestSettings, SchemaSettings


def open_source(ingest: IngestSettings, schema: SchemaSettings | None) -> Source:
    """Return the source that `ingest.source` names.

    Raises:
        SettingsError: the settings of the source are missing or contradict one another.
        RecpruneError: the package with its data is not installed.
    """
    if ingest.source == "simulator":
        from recprune.data.sources.simulator import SimulatorSource

        return SimulatorSource(ingest.simulator)
    if ingest.source == "complete-journey":
        from recprune.data.sources.complete_journey import CompleteJourneySource

        return CompleteJourneySource()
    if ingest.source == "nycflights13":
        from recprune.data.sources.nycflights13 import FlightsSource

        return FlightsSource()
    if ingest.source == "files":
        return _open_files(ingest, schema)
    return _open_download(ingest)


def _open_files(ingest: IngestSettings, schema: SchemaSettings | None) -> Source:
    from recprune.data.sources.files import FilesSource

    if ingest.files is None or schema is None:
        empty = [name for name, value in (("ingest.files", ingest.files), ("schema", schema)) if value is None]
        raise SettingsError(
            f"params.yaml: ingest.source is files, but {' and '.join(empty)} must not be null; "
            "ingest.files says where your files lie and schema what their columns mean: write both, or "
            "choose another ingest.source (simulator, complete-journey, nycflights13)."
        )
    return FilesSource(ingest.files, schema)


def _open_download(ingest: IngestSettings) -> Source:
    """Return the source of a public data set that the user has downloaded."""
    if ingest.source == "criteo" and ingest.criteo:
        from recprune.data.sources.criteo import CriteoSource

        return CriteoSource(ingest.criteo)
    if ingest.source == "avazu" and ingest.avazu:
        from recprune.data.sources.avazu import AvazuSource

        return AvazuSource(ingest.avazu)
    if ingest.source == "movielens" and ingest.movielens:
        from recprune.data.sources.movielens import MovieLensSource

        return MovieLensSource(ingest.movielens)
    if ingest.source == "mind" and ingest.mind:
        from recprune.data.sources.mind import MindSource

        return MindSource(ingest.mind)
    raise SettingsError(
        f"params.yaml: ingest.source is {ingest.source}, but ingest.{ingest.source} must not be null; recprune cannot "
        f"download these data for you: get them, then write ingest.{ingest.source}: {{path: ...}} "
        f"(docs/sources/{ingest.source}.md has the steps)."
    )
