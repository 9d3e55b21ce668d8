#!/usr/bin/env bash
# Learn 28 days of Complete Journey, then run 10 real days through every step. A second call does nothing.
set -euo pipefail
workspace=${1:?usage: scripts/demo.sh WORKSPACE}
start=2017-01-29 last=2017-02-07

recprune init "$workspace" --source complete-journey --history 28 --start "$start"
cd "$workspace"
code=0
recprune run --from "$start" --to "$last" || code=$?
if [ "$code" -ne 0 ] && [ "$code" -ne 3 ]; then # 3: a day was held or quarantined, which is an outcome
  exit "$code"
fi
recprune report
