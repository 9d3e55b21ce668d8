#!/usr/bin/env bash
# Every test: as many test files at a time as there are cores; then those with a real Airflow, which are one step at a
# time each: a scheduler that waits for a core is not what they ask about.
set -uo pipefail
cores=$(python -c 'import os; print(min(os.cpu_count() or 1, 8))')
with_airflow="tests/e2e/test_airflow.py tests/e2e/test_service.py"
# shellcheck disable=SC2086 # each word is an argument
python -m pytest --doctest-modules recprune tests ${with_airflow//tests/--ignore tests} \
	--numprocesses "$cores" --dist loadfile --quiet --durations 25
most=$?
# shellcheck disable=SC2086
python -m pytest $with_airflow --numprocesses 2 --dist loadfile --durations 5
airflow=$?
exit $((most != 0 || airflow != 0))
