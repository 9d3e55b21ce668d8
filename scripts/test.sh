#!/usr/bin/env bash
# Every test: as many test files at a time as there are cores; then those with a real Airflow, alone: a scheduler that
# waits for a core is not what they ask about.
set -uo pipefail
cores=$(python -c 'import os; print(min(os.cpu_count() or 1, 8))')
python -m pytest --doctest-modules recprune tests --ignore tests/e2e/test_airflow.py \
	--numprocesses "$cores" --dist loadfile --quiet --durations 25
most=$?
python -m pytest tests/e2e/test_airflow.py --durations 5
airflow=$?
exit $((most != 0 || airflow != 0))
