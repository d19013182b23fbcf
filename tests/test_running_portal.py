"""The processes of a story end with the tests, however those end."""

import subprocess
import sys
from pathlib import Path

import psutil

from tests.running_portal import eventually
from tests.sources import PROJECT

TESTS = """
import sys, time
from pathlib import Path
from tests.running_portal import RunningPortal

portal = RunningPortal(Path(sys.argv[1]))
portal.run("program", ["sleep", "300"], portal.environment, Path("/"))
print(portal.processes["program"].pid, flush=True)
time.sleep(300)
"""


def test_programs_of_a_portal_end_with_the_tests_that_are_killed(tmp_path: Path):
    tests = subprocess.Popen(
        [sys.executable, "-c", TESTS, str(tmp_path)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
    )
    assert tests.stdout is not None
    program = psutil.Process(int(tests.stdout.readline()))
    assert program.name() == "sleep"

    tests.kill()
    tests.wait(10)
    tests.stdout.close()

    eventually(lambda: not program.is_running(), within=10, what="The end of the program")
