"""Fixtures of all tests, and how hypothesis draws its examples."""

import pytest
from hypothesis import HealthCheck, settings

import fastoptim as fo

# The same examples in every run; on a busy machine one may take long.
settings.register_profile("fastoptim", deadline=None, derandomize=True,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastoptim")


@pytest.fixture(autouse=True)
def keep_threads():
    """A test may set the number of threads: the next one starts with that of before."""
    before = fo.get_num_threads()
    yield
    if fo.get_num_threads() != before:
        fo.set_num_threads(before)


@pytest.fixture(params=fo.build_info()["isa_available"])
def isa(request):
    """Each instruction set of this processor, which a child is told as FASTOPTIM_ISA."""
    return request.param
