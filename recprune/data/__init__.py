"""Events: sources, schema, partitions, profiles, vocabularies, feature arrays."""
