"""What is fuzzed, and how many of a thousand cases each gets: about as many as fit into its share of the time."""

from tests.fuzz import artefacts, presets, proposals, sources, state, texts
from tests.fuzz.case import Target

TARGETS = {
    target.name: target
    for target in (
        Target("csv-records", 300, sources.make_records),
        Target("csv", 15, sources.make_csv),
        Target("parquet", 30, sources.make_parquet),
        Target("ingest", 3, sources.make_ingest),
        Target("json-lines", 6, texts.make_json_lines),
        Target("packed", 15, texts.make_packed),
        Target("criteo", 3, presets.make_criteo),
        Target("avazu", 3, presets.make_avazu),
        Target("movielens", 3, presets.make_movielens),
        Target("mind", 3, presets.make_mind),
        Target("from-file", 2, proposals.make_proposal),
        Target("settings-text", 45, state.make_settings_text),
        Target("settings", 50, state.make_settings_values),
        Target("plan", 10, state.make_plan),
        Target("verdicts", 110, state.make_verdicts),
        Target("masks", 120, state.make_masks),
        Target("gate", 10, state.make_gate),
        Target("registry", 50, state.make_registry),
        Target("pages", 5, state.make_pages),
        Target("costs", 30, state.make_costs),
        Target("manifest", 60, artefacts.make_manifest),
        Target("events", 20, artefacts.make_partition),
        Target("events-manifest", 20, artefacts.make_partition_manifest),
        Target("vocabulary", 15, artefacts.make_vocabulary),
        Target("features", 15, artefacts.make_features),
        Target("pool", 15, artefacts.make_pool),
        Target("checkpoints", 15, artefacts.make_lines),
        Target("bundle", 15, artefacts.make_bundle),
        Target("delta", 30, artefacts.make_bundle_delta),
    )
}


def split(cases: int, only: str | None = None) -> dict[str, int]:
    """Split so many cases over the targets by their shares; none goes without.

    >>> sum(split(10_000).values()) >= 10_000
    True
    """
    if only:
        return {only: cases}
    total = sum(target.share for target in TARGETS.values())
    return {name: -(-cases * target.share // total) for name, target in TARGETS.items()}
