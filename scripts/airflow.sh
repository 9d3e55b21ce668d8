#!/usr/bin/env bash
# shellcheck disable=SC2317 # the functions of the traps are reached
# Airflow standalone on one workspace, for this machine only: scheduler, LocalExecutor, SQLite, web interface.
#
#   scripts/airflow.sh [WORKSPACE]      (default: demo/ in the repository)
#
# AIRFLOW_PORT             port of the web interface (default 8080; 0 takes a free one)
# RECPRUNE_AIRFLOW_HOME    folder of Airflow's database, logs and password (default .airflow/)
# RECPRUNE_COMMAND         the recprune that tasks start (default: the one on PATH)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
say() { printf "%s\n" "$@"; }
fail() {
  say "airflow: $*" >&2
  exit 1
}

# --- what must be there -----------------------------------------------------------------------------------------
workspace=${1:-$root/demo}
[[ -f $workspace/params.yaml ]] || fail "$workspace is not a workspace (no params.yaml in it)." \
  "Run \`make demo\` first, or name a folder that \`recprune init\` made."
workspace=$(cd "$workspace" && pwd)
[[ ! -x $root/.venv/bin/airflow ]] || PATH="$root/.venv/bin:$PATH"
airflow=$(command -v airflow) || fail "Airflow is not installed." \
  "Run \`make airflow\`, which installs it, or: python -m scripts.install service"
python=$(dirname "$airflow")/python

home=${RECPRUNE_AIRFLOW_HOME:-$root/.airflow}
# shellcheck disable=SC2174 # the password lies in this folder; those above it are not ours
mkdir -p -m 700 "$home"
mkdir -p "$home/bin"
home=$(cd "$home" && pwd)
log=$home/standalone.log

# The lock belongs to the open file, which Airflow inherits: it is held as long as either of us lives.
exec 9>>"$home/lock"
"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null ||
  fail "another Airflow runs in $home. Stop it (Ctrl-C where it was started) or set RECPRUNE_AIRFLOW_HOME."
port=$("$python" - "${AIRFLOW_PORT:-8080}" 2>/dev/null <<'PYTHON'
import socket, sys
with socket.socket() as free:
    free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    free.bind(("127.0.0.1", int(sys.argv[1])))
    print(free.getsockname()[1])
PYTHON
) || fail "port ${AIRFLOW_PORT:-8080} of 127.0.0.1 cannot be used; something else may listen there." \
  "Choose another: AIRFLOW_PORT=8081 make airflow"
url=http://127.0.0.1:$port

# --- settings ---------------------------------------------------------------------------------------------------
unset AIRFLOW_CONFIG
export AIRFLOW_HOME=$home
export AIRFLOW__CORE__DAGS_FOLDER=$root/dags
export AIRFLOW__CORE__PLUGINS_FOLDER=$root/plugins
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__CORE__EXECUTOR=LocalExecutor
export AIRFLOW__CORE__PARALLELISM=2
# Runs of two days can meet (a backfill and a scheduled run); recprune refuses a second command in a workspace,
# so their tasks take turns: each takes two slots of three, and a rollback the third.
export AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT=3
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=$home/passwords.json
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL=$url/execution/
# A part that finds the database locked waits a minute, not five seconds, after which it would end.
export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:///$home/airflow.db?timeout=60"
# A task waits longer than that for its answer, not five seconds; and asks for minutes, not ten seconds, while nobody
# answers: after a stop in the middle of a step the scheduler begins it again before the API server listens.
export AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT=90
export AIRFLOW__WORKERS__EXECUTION_API_RETRIES=10
export AIRFLOW__LOGGING__BASE_LOG_FOLDER=$home/logs
export AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW__API__PORT=$port
export AIRFLOW__API__BASE_URL=$url
export AIRFLOW__API__WORKERS=1
AIRFLOW__API_AUTH__JWT_SECRET=$("$python" -c 'import secrets; print(secrets.token_hex(64))')
export AIRFLOW__API_AUTH__JWT_SECRET
export RECPRUNE_WORKSPACE=$workspace
# Tasks and the checks below talk to this address; a proxy of the user's must not stand in between.
export no_proxy=127.0.0.1${no_proxy:+,$no_proxy} NO_PROXY=127.0.0.1${NO_PROXY:+,$NO_PROXY}

# Scheduler and triggerer would serve their logs on every network interface; here the web interface reads the
# files itself. Standalone starts its parts through PATH, so this wrapper is where the option can be added.
cat >"$home/bin/airflow" <<SHELL
#!/usr/bin/env bash
case \$1 in scheduler | triggerer) set -- "\$@" --skip-serve-logs ;; esac
exec $(printf %q "$airflow") "\$@"
SHELL
chmod +x "$home/bin/airflow"
PATH=$home/bin:$PATH

# --- start, wait, stop ------------------------------------------------------------------------------------------
group=
stop() {
  trap '' INT TERM HUP
  [[ -z $group ]] || "$python" "$root/scripts/stop_group.py" "$group"
}
asked() {
  say "" "Stopping Airflow …"
  stop
  group=
  say "Airflow has stopped."
  exit 0
}
trap stop EXIT
trap asked INT TERM HUP

healthy() {
  "$python" - "$url/api/v2/monitor/health" 2>/dev/null <<'PYTHON'
import json, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
    health = json.load(answer)
parts = ("metadatabase", "scheduler", "dag_processor")
sys.exit(any(health[part]["status"] != "healthy" for part in parts))
PYTHON
}

# Prints the password once the DAGs are listed, or what Airflow says about a file of theirs. A database of before has
# another number of slots, which Airflow sets once.
login() {
  "$python" - "$url" "$home/passwords.json" 2>/dev/null <<'PYTHON'
import json, sys, urllib.request
url, passwords = sys.argv[1:]
def ask(path, token=None, body=None, method=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url + path, json.dumps(body).encode() if body else None, headers, method=method)
    return json.load(urllib.request.urlopen(request, timeout=5))
with open(passwords) as file:
    password = json.load(file)["admin"]
token = ask("/auth/token", body={"username": "admin", "password": password})["access_token"]
ask("/api/v2/pools/default_pool?update_mask=slots", token, {"slots": 3}, "PATCH")
broken = ask("/api/v2/importErrors", token)["import_errors"]
print(f"admin / {password}", *(error["stack_trace"] for error in broken), sep="\n")
sys.exit(not broken and ask("/api/v2/dags", token)["total_entries"] < 3)
PYTHON
}

say "Starting Airflow on $workspace (15 to 60 seconds; log: $log)"
set -m # job control: the background job becomes a process group of its own, out of reach of the terminal's Ctrl-C
"$airflow" standalone >"$log" 2>&1 </dev/null &
group=$!
set +m

for ((second = 0; second < 180; second++)); do
  if healthy && login=$(login); then break; fi
  kill -0 "$group" 2>/dev/null || fail "Airflow ended by itself; the end of $log: $(tail -n 30 "$log")"
  sleep 1 &
  wait $!
done
[[ -n ${login:-} ]] || fail "Airflow was not ready after $second s; the end of $log: $(tail -n 30 "$log")"

say "Airflow is ready: $url/dags/recprune_daily" \
  "Login: $login" \
  "The report of the days: $url/plugin/recprune" \
  "Switch the DAG on to let runs start. Stop Airflow with Ctrl-C."
wait "$group" || true
fail "Airflow ended by itself; the end of $log: $(tail -n 30 "$log")"
