#!/usr/bin/env bash
# Every test: as many test files at a time as there are cores; then those with a real Airflow, which are one step at a
# time each: a scheduler that waits for a core is not what they ask about. Beside these, where they leave a core idle,
# the fuzzing, which only computes.
set -uo pipefail
unset PYTHONDONTWRITEBYTECODE # thousands of processes import the same modules
cores=$(python -c 'import os; print(min(os.cpu_count() or 1, 8))')
with_airflow="tests/e2e/test_airflow.py tests/e2e/test_service.py"
said=$(mktemp) fuzzing=
trap 'rm -f "$said"; [[ -z $fuzzing ]] || kill -- "-$fuzzing" 2>/dev/null' EXIT

# In the order of tests/conftest.py, the long files first.
# shellcheck disable=SC2086 # each word is an argument
python -m pytest --doctest-modules recprune tests --ignore tests/fuzz ${with_airflow//tests/--ignore tests} \
	--numprocesses "$cores" --dist loadfile --no-loadscope-reorder --quiet --durations 25
most=$?

set -m # a process group of its own, which Ctrl-C ends with all that it started
nice -n 19 python -m pytest --doctest-modules tests/fuzz --quiet >"$said" 2>&1 </dev/null &
fuzzing=$!
set +m
# shellcheck disable=SC2086
python -m pytest $with_airflow --numprocesses 2 --dist loadfile --durations 5
airflow=$?
wait "$fuzzing"
fuzzed=$?
fuzzing=
cat "$said"
exit $((most != 0 || airflow != 0 || fuzzed != 0))
