"""Stopping a process group with all that it started."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
STOP = Path(__file__).parents[1] / "scripts" / "stop_group.py"
GRACE = "1"  # second

# A child in a session of its own, as Airflow starts commands; {ignore} makes it deaf to the first signal.
PARENT = """\
import subprocess, sys, time
child = "import signal, time; {ignore}; time.sleep(600)"
command = [sys.executable, "-c", child]
process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
print(process.pid, flush=True)
process.wait()
print("failed", flush=True)
"""


@pytest.mark.parametrize("ignore", ["pass", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_nothing_of_the_group_is_left(ignore):
    command = [sys.executable, "-c", PARENT.format(ignore=ignore)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.5)  # until the child has set its signal
        subprocess.run([sys.executable, STOP, str(parent.pid), GRACE], check=True, timeout=30)
        assert parent.wait(5) == -signal.SIGKILL
        assert parent.stdout.read() == "", "who watches over a command never tells that it was ended"
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_member_without_such_a_child_is_asked_to_end():
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as member:
        subprocess.run([sys.executable, STOP, str(member.pid), GRACE], check=True, timeout=30)
        assert member.wait(5) == -signal.SIGTERM


def test_a_group_that_has_ended_is_no_error():
    with subprocess.Popen(["true"], start_new_session=True) as done:
        done.wait()
    subprocess.run([sys.executable, STOP, str(done.pid), GRACE], check=True, timeout=30)
