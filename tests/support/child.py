"""Python in a child process, for what must not happen in this one: exits, forks, other variables.

The child finds the package `support`, as the tests do.
"""

import os
import subprocess
import sys

from . import TESTS


def environment(**variables):
    """This process's environment with those variables; one that is None is left out."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    merged = {**os.environ, "PYTHONPATH": path, **variables}
    return {name: value for name, value in merged.items() if value is not None}


def start_python(*arguments, **variables):
    """A child that runs meanwhile, with its output in pipes."""
    return subprocess.Popen([sys.executable, *arguments], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=environment(**variables))


def python(*arguments, timeout=120, under=(), cwd=None, **variables):
    """The child after its end, whatever its exit code: returncode, stdout, stderr.

    `under` is a command that runs it, such as valgrind with its options.
    """
    return subprocess.run([*under, sys.executable, *arguments], timeout=timeout, cwd=cwd,
                          capture_output=True, text=True, check=False,
                          env=environment(**variables))


def run(code, *arguments, timeout=120, **variables):
    """What the code prints. A crash, a hang, an error or a word on stderr fails the test.

    Warnings are off: from Python 3.12 on a fork beside threads gives one.
    """
    done = python("-W", "ignore", "-c", code, *arguments, timeout=timeout, **variables)
    assert (done.returncode, done.stderr) == (0, ""), (done.returncode, done.stdout, done.stderr)
    return done.stdout


def printed(code, *arguments, **options):
    """The same without the white space around it."""
    return run(code, *arguments, **options).strip()
