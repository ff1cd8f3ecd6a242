"""Steps on elements of fewer bytes equal tests/support/reference_storage.py byte for byte."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

import fastoptim as fo

from support import ROOT, child, reference_storage, storage_steps
from support.cases import OPTIMIZERS, name_of
from support.storage_steps import (
    BROAD,
    CASES,
    COMBINATIONS,
    NUMPY,
    SQUARES,
    assert_same,
    cases_of,
    make,
    plain,
    run_fastoptim,
    run_reference,
    stored,
    values,
)

each_combination = pytest.mark.parametrize("dtypes", COMBINATIONS, ids="-".join)


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
@each_combination
def test_every_rule_and_combination(dtypes, rounding):
    for case in cases_of(dtypes):
        for n in (0, 1, 129, 3000):
            assert_same(run_fastoptim(case, dtypes, n, rounding),
                        run_reference(case, dtypes, n, rounding))


UNUSUAL = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F80FFFF, 0x7FC00001, 0xFFC00000, 0x7F800000,
                    0xFF800000, 0x00000005, 0x80000005, 0x007FFFFF, 0x00800000, 0x80000000,
                    0x7F7FFFFF, 0xFF7FFFFF], np.uint32).view(np.float32)


def unusual(x, rng, dtype, share=0.2):
    """x with NaN of several patterns, infinities, subnormals and the largest among it."""
    patterns = UNUSUAL if dtype == "float32" else (UNUSUAL.view(np.uint32) >> 16).astype(np.uint16)
    return np.where(rng.random(x.size) < share, rng.choice(patterns, x.size), x).astype(x.dtype)


def same_but_for_nan(x, y, dtype):
    """Which NaN arithmetic gives in float32 is the processor's affair; what is stored is ours."""
    if dtype == "float32":
        x, y = (np.where(np.isnan(z), np.float32(0), z) if z.dtype == np.float32 else z
                for z in (x, y))
    return np.array_equal(plain(x), plain(y))


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
@pytest.mark.parametrize("share", (0.0, 0.004, 0.2))
@pytest.mark.parametrize("dtypes", [c for c in COMBINATIONS if "float16" not in c], ids="-".join)
def test_unusual_numbers(dtypes, share, rounding):
    n = 3000
    for rule, options in CASES:
        rng = np.random.default_rng(5)
        x, gradients = values(n, 1, 5)
        p = stored(x, dtypes[0])
        ours = make(x, dtypes[0])
        g = np.zeros(n, NUMPY[dtypes[1]])
        optimizer = OPTIMIZERS[rule][0](ours, g, state_dtype=dtypes[2], seed=3, rounding=rounding,
                                        **options)
        s = {}
        for t, values_of_g in enumerate(gradients, 1):
            new_g = unusual(stored(values_of_g, dtypes[1]), rng, dtypes[1], share)
            g[...] = new_g.view(g.dtype)
            if t == 2:
                p = unusual(p, rng, dtypes[0], share)
                ours[...] = p.view(ours.dtype)
                for name in () if dtypes[2] == "q8" else s:
                    s[name] = unusual(s[name], rng, dtypes[2], max(share, 0.01))
                    if name in SQUARES.get(rule, ()):
                        s[name] = np.abs(s[name]) if dtypes[2] == "float32" else s[name] & 0x7FFF
                    optimizer.state[0][name][...] = s[name].view(optimizer.state[0][name].dtype)
            p = reference_storage.step(OPTIMIZERS[rule][1], p, new_g, s, t, dtypes=dtypes,
                                       squares=SQUARES.get(rule, ()), seed=3,
                                       rounding=rounding, **options)
            optimizer.step()
            assert same_but_for_nan(ours, p, dtypes[0]), (rule, options, t)
            for name, state in optimizer.state[0].items():
                assert same_but_for_nan(state, s[name], dtypes[2]), (rule, options, t, name)


# The ends of what a type holds.

@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_float16_beyond_its_largest_number(rounding):
    """Up to 65520 is 65504, whatever is drawn; from there on it is infinity."""
    beyond = np.repeat(np.linspace(-16, 64, 81, dtype=np.float32), 100)
    p = np.full(beyond.size, 65504, np.float16)
    opt = fo.SGD(p, lr=1.0, rounding=rounding, seed=3)
    for t in range(1, 4):
        p[...] = 65504
        opt.step(-beyond)
        draws = reference_storage.random_bits(3, t, 0, p.size, 0)
        expected = reference_storage.encode_float16(65504 + beyond,
                                                    draws if rounding == "stochastic" else None)
        assert np.array_equal(plain(p), expected)
        assert (p[(beyond >= 0) & (beyond < 16)] == 65504).all() and np.isinf(p[beyond >= 16]).all()


# Scales that a block needs at the lower end of float32, and its last number beside those that q8
# takes for infinite.
ENDS = {
    "smallest": lambda rng, n: 10.0 ** rng.uniform(-44, -24, (n, 1)) * rng.uniform(-1, 1, (n, 128)),
    "largest": lambda rng, n: rng.choice([1e37, 2.5e38, 2.9e38, 3.0e38, 3.2e38, 3.4e38, np.inf],
                                         (n, 128)) * rng.choice([-1, 1, 1e-3], (n, 128)),
}


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("case", [("momentum", {"beta": 0.0}), ("rmsprop", {"beta": 0.0})],
                         ids=name_of)
def test_q8_at_the_ends_of_float32(case, end, rounding):
    rule, options = case
    x = ENDS[end](np.random.default_rng(0), 60)
    if rule == "rmsprop":  # whose state holds the squares
        x = np.sqrt(np.abs(x))
    g = x.astype(np.float32).ravel()
    p, s = np.ones(g.size, np.float32), {}
    ours = p.copy()
    opt = OPTIMIZERS[rule][0](ours, state_dtype="q8", seed=3, rounding=rounding, **options)
    with np.errstate(all="ignore"):
        for t, sign in enumerate((1, -1), 1):
            p = reference_storage.step(
                OPTIMIZERS[rule][1], p, sign * g, s, t, dtypes=("float32", "float32", "q8"),
                squares=SQUARES.get(rule, ()), seed=3, rounding=rounding, **options)
            opt.step(sign * g)
            for name, state in opt.state[0].items():
                assert np.array_equal(plain(state), plain(s[name])), (name, t)
    scales = s[next(name for name in s if name.endswith("_scales"))]
    assert (scales.min() <= 32) if end == "smallest" else (scales.max() == 254)


# Random words far into a tensor.

@pytest.mark.parametrize("dtypes", [("bfloat16",) * 3, ("float32", "float32", "q8"),
                                    ("float16", "float16", "bfloat16")], ids="-".join)
def test_more_elements_than_65536(dtypes):
    case = ("adam", {})
    assert_same(run_fastoptim(case, dtypes, 140_001, steps=2),
                run_reference(case, dtypes, 140_001, steps=2))


FAR = """
#include <cstdio>
#include <vector>
#define FASTOPTIM_ISA baseline
#include "kernels/kernels.hpp"
#include "kernels/rules.hpp"
#include "kernels/sweep.hpp"

using namespace fastoptim;

// Sweeps 256 bfloat16 parameters of 1.003 as elements [first, first + 256) of a tensor.
static void print(Index first) {
  std::vector<std::uint16_t> p(256, 0x3f80);
  std::vector<float> g(256, -0.003f);
  // Where element 0 would lie; no other memory is touched.
  const auto origin = [&](auto& x) {
    return reinterpret_cast<char*>(std::uintptr_t(x.data()) - sizeof(x[0]) * first);
  };
  Tensor tensor;
  const Index extent = first + 256;
  tensor.extents = &extent;
  tensor.n_axes = 1;
  tensor.size = extent;
  tensor.operands[0].data = origin(p);
  tensor.operands[0].storage = Storage::bfloat16;
  tensor.operands[1].data = origin(g);
  Coefficients c = {};
  c.decay = 1;
  c.rule[0] = 1;
  c.stochastic = true;
  c.seed = 3;
  c.step = 1;
  baseline::sweep<baseline::Sgd, float>(tensor, c, first, extent);
  for (const std::uint16_t code : p) std::printf("%d ", code);
  std::printf("\\n");
}

int main() {
  for (const Index first : {FIRST}) print(first);
}
"""
COMPILER = os.environ.get("CXX", "c++")


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason="no C++ compiler")
def test_more_elements_than_fit_into_memory(tmp_path):
    """Pairs are counted beyond 2**32; a kernel is given a span so far behind the array's start."""
    firsts = [0, 2**31, 2**33 - 128, 2**33, 5 * 2**33, 2**40 + 256]
    source = tmp_path / "far.cpp"
    source.write_text(FAR.replace("FIRST", ", ".join(f"{first}LL" for first in firsts)))
    subprocess.run([COMPILER, "-std=c++17", "-O1", "-ffp-contract=off", f"-I{ROOT / 'cpp'}",
                    str(source), "-o", str(tmp_path / "far")], check=True,
                   env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"})
    lines = subprocess.run([tmp_path / "far"], check=True, capture_output=True,
                           text=True).stdout.splitlines()
    for first, line in zip(firsts, lines, strict=True):
        draws = reference_storage.random_bits(3, 1, 0, 256, 0, first)
        expected = reference_storage.encode_bfloat16(np.full(256, 1.003, np.float32), draws)
        assert np.array_equal(np.array(line.split(), np.uint16), expected), first


# The same on every instruction set and for every number of threads.

@pytest.fixture(scope="module")
def expected_digests():
    return storage_steps.expected_digests()


@pytest.mark.long
@pytest.mark.parametrize("threads", (1, 2, 3, 7))
def test_all_instruction_sets_and_threads(isa, threads, expected_digests):
    got = json.loads(child.run("from support import storage_steps; storage_steps.print_digests()",
                               timeout=300, FASTOPTIM_ISA=isa, FASTOPTIM_NUM_THREADS=str(threads)))
    assert (got["isa"], got["threads"]) == (isa, threads)
    differ = [f"{name_of(case)} {dtypes}" for (case, dtypes), x, y
              in zip(BROAD, got["digests"], expected_digests) if x != y]
    assert not differ


# The shape of a base, and the 1000 elements of it that are the parameter, in the order of walk.
LAYOUTS = {
    "F-ordered": ((40, 25), lambda base: base.T, lambda x: x.T),
    "every third": (3000, lambda base: base[::3], lambda x: x),
    "backwards": (1000, lambda base: base[::-1], lambda x: x),
    "a block": ((14, 20, 16), lambda base: base[2:12, 0:20:2, 1:11], lambda x: x),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    shape, view, in_order = LAYOUTS[layout]
    for k, dtypes in enumerate(COMBINATIONS):
        case = cases_of(dtypes)[k % len(cases_of(dtypes))]
        base = np.full(shape, 77, NUMPY[dtypes[0]])
        p = view(base)
        g = np.zeros((*p.shape, 3), NUMPY[dtypes[1]])[..., 1]
        got_p, states = run_fastoptim(case, dtypes, 1000, p=in_order(p), g=in_order(g))
        assert_same((got_p, states), run_reference(case, dtypes, 1000))
        p[...] = 77
        assert (base == NUMPY[dtypes[0]].type(77)).all(), "a neighbour was written"


@pytest.mark.parametrize("offset", (1, 2, 3, 6, 7))
def test_every_alignment(offset):
    for k, dtypes in enumerate(COMBINATIONS):
        case = cases_of(dtypes)[k % len(cases_of(dtypes))]
        arrays = []
        for dtype in dtypes[:2]:
            memory = np.zeros(1000 * NUMPY[dtype].itemsize + 64, np.uint8)
            start = -memory.ctypes.data % 64 + offset
            arrays.append(memory[start:start + 1000 * NUMPY[dtype].itemsize].view(NUMPY[dtype]))
        assert_same(run_fastoptim(case, dtypes, 1000, p=arrays[0], g=arrays[1]),
                    run_reference(case, dtypes, 1000))
