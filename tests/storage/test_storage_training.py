"""The quick part of bench/training.py: fewer bytes end where float32 ends."""

import importlib.util

import pytest

from support import ROOT

spec = importlib.util.spec_from_file_location(
    "training", ROOT / "bench" / "training.py")
training = importlib.util.module_from_spec(spec)
pytest.importorskip("sklearn")
spec.loader.exec_module(training)


@pytest.mark.long
def test_fewer_bytes_train_like_float32():
    names = ("float32", "bfloat16 state", "bfloat16 everything", "q8 state", "q8 state, bfloat16")
    (expected, _), *others = training.table(2, 40, names).values()
    for name, (loss, accuracy) in zip(names[1:], others):
        assert abs(loss / expected - 1) < 0.06, name
        assert accuracy > 95, name
