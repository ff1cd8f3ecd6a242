"""Digests of 200 steps of every case, dtype and size, by which processes are compared."""

import json

import fastoptim as fo

from .cases import CASES, DTYPES, digest, name_of, run_fastoptim, run_reference

SIZES = (0, 1, 7, 127, 128, 129, 1000, 65_537)


def key(case, dtype, n):
    return f"{name_of(case)} {dtype} {n}"


def expected_digests():
    """Of the NumPy version; the order of the loops makes the most of the gradients' cache."""
    return {key(case, dtype, n): digest(*run_reference(case, n, dtype))
            for dtype in DTYPES for n in SIZES for case in CASES}


def print_digests():
    """Run in a process of its own for each instruction set and number of threads."""
    digests = {key(case, dtype, n): digest(*run_fastoptim(case, n, dtype))
               for dtype in DTYPES for n in SIZES for case in CASES}
    print(json.dumps({"isa": fo.build_info()["isa"], "threads": fo.get_num_threads(),
                      "digests": digests}))
