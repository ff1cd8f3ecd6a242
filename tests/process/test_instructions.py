"""Instructions of a step beside its elements, where time is too noisy to hold a limit."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import child

# One opt.step() with bound gradients of 6 tensors of one element: LIMIT instructions at most,
# from the call in Python to its return. COUNTED were counted with CPython 3.11 and GCC 12; the
# headroom is for other versions of both.
COUNTED = 4_404
LIMIT = 5_400

_STEPS = """
import sys
import numpy as np
import fastoptim as fo
params = [np.full(1, 0.5, np.float32) for _ in range(6)]
opt = fo.Adam(params, grads=[np.full(1, 0.25, np.float32) for _ in params])
for _ in range(int(sys.argv[1])):
    opt.step()
"""

def _instructions(steps: int) -> int:
    done = child.python(
        "-c", _STEPS, str(steps),
        under=["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"],
        FASTOPTIM_ISA="baseline",  # valgrind does not know every instruction of the others
        FASTOPTIM_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="0")
    assert done.returncode == 0, done.stderr
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
def test_a_step_of_a_small_model_takes_few_instructions():
    # The difference of two runs: start, imports and exit are the same in both.
    few, many = 200, 1200
    with ThreadPoolExecutor() as pool:  # at the same time: what is counted is no time
        of_few, of_many = pool.map(_instructions, (few, many))
    per_step = (of_many - of_few) / (many - few)
    assert 0 < per_step <= LIMIT, f"{per_step:.0f} instructions a step, {COUNTED} when counted"
