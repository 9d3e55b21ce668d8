"""Which bundle serves: `registry/history.jsonl` is the truth, `registry/current.json` follows it."""
