"""Steps on elements of fewer bytes equal tests/reference_storage.py byte for byte."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import fastoptim as fo

import reference_storage
from cases import OPTIMIZERS, OPTIONS, SHARED, name_of, nonnegative_states

ROOT = Path(__file__).parents[1]
NUMPY = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16),
         "bfloat16": np.dtype(ml_dtypes.bfloat16)}
STATES = ("float32", "bfloat16", "float16", "q8")

# (parameter, gradient, state)
COMBINATIONS = [(p, g, s) for p, g in [("float32", "float32"), ("float32", "bfloat16"),
                                       ("float32", "float16"), ("bfloat16", "bfloat16"),
                                       ("bfloat16", "float32"), ("float16", "float16"),
                                       ("float16", "float32")]
                for s in STATES][1:]
# Every kernel, with what all rules share spread over them.
CASES = [
    ("sgd", {}),
    ("momentum", {}),
    ("momentum", {"nesterov": True, **SHARED[0]}),
    ("rmsprop", {}),
    ("rmsprop", {"momentum": 0.9, **SHARED[1]}),
    ("rmsprop", {"centered": True}),
    ("rmsprop", {"centered": True, "momentum": 0.9}),
    ("adam", {}),
    ("adam", {"amsgrad": True, **SHARED[2]}),
    ("adamw", {}),
]
assert all(rule in OPTIONS for rule, _ in CASES)
# The states that take the unsigned law, of all variants of a rule.
SQUARES = {rule: squares for rule in OPTIONS
           if (squares := nonnegative_states(OPTIMIZERS[rule][0]))}


def cases_of(dtypes):
    """The cases that go with that: squares are not kept in float16."""
    return [case for case in CASES if dtypes[2] != "float16" or case[0] not in SQUARES]


# A q8 block and a thread's block, with short last ones.
SIZES = (0, 1, 129, 3000, 33_001)
each_combination = pytest.mark.parametrize("dtypes", COMBINATIONS, ids="-".join)


def values(n, seed, steps):
    """A parameter and gradients of many magnitudes, some of them zero."""
    rng = np.random.default_rng((n, seed))
    scale = 10.0 ** rng.uniform(-5, 1, n)
    gradients = [((rng.random(n) - 0.5) * scale * (rng.random(n) < 0.9)).astype(np.float32)
                 for _ in range(steps)]
    return rng.standard_normal(n).astype(np.float32), gradients


def stored(x, dtype):
    """float32, or 16-bit patterns."""
    return x if dtype == "float32" else reference_storage.ENCODE[dtype](x)


def plain(x):
    """An array's bytes in the order of its elements, bfloat16 and the like as integers."""
    return np.ascontiguousarray(x).view(f"u{x.itemsize}")


def digest(p, states):
    sha = hashlib.sha256(plain(p).tobytes())
    for name in sorted(states):
        sha.update(name.encode() + plain(states[name]).tobytes())
    return sha.hexdigest()


def run_reference(case, dtypes, n, rounding="stochastic", seed=3, steps=6):
    """Two tensors: (p, states) of the second."""
    rule, options = case
    p, gradients = values(n, 0, steps)
    p, s = stored(p, dtypes[0]), {}
    for t, g in enumerate(gradients, 1):
        p = reference_storage.step(OPTIMIZERS[rule][1], p, stored(g, dtypes[1]), s, t,
                                   dtypes=dtypes, squares=SQUARES.get(rule, ()), seed=seed,
                                   tensor=1, rounding=rounding, **options)
    return p, s


def make(x, dtype, like=None):
    """x in NumPy's dtype, in an array of its own or in `like`."""
    made = np.empty(x.shape, NUMPY[dtype]) if like is None else like
    made[...] = stored(x, dtype).view(NUMPY[dtype]).reshape(made.shape)
    return made


def run_fastoptim(case, dtypes, n, rounding="stochastic", seed=3, steps=6, p=None, g=None):
    rule, options = case
    initial, gradients = values(n, 0, steps)
    p = make(initial, dtypes[0], p)
    g = np.empty(p.shape, NUMPY[dtypes[1]]) if g is None else g
    first = np.zeros(5, NUMPY[dtypes[0]])
    optimizer = OPTIMIZERS[rule][0]([first, p], [first.copy(), g], state_dtype=dtypes[2],
                                    rounding=rounding, seed=seed, **options)
    for t, values_of_g in enumerate(gradients):
        make(values_of_g, dtypes[1], g)
        if t == steps // 2:  # resumed by another, made with another seed
            saved = optimizer.state_dict()
            optimizer = OPTIMIZERS[rule][0]([first, p], [first.copy(), g], state_dtype=dtypes[2],
                                            **options)
            optimizer.load_state_dict(saved)
        optimizer.step()
    return p, optimizer.state[1]


def assert_same(got, expected):
    p, states = got
    assert states.keys() == expected[1].keys()
    for name, x, y in [("p", p, expected[0]),
                       *((name, states[name], expected[1][name]) for name in states)]:
        x, y = plain(x).ravel(), plain(y)
        differ = np.flatnonzero(x != y)
        assert not differ.size, f"{name} differs at {differ[:5]} of {x.size}: {x} != {y}"


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

LARGE = 33_001  # elements: enough for every thread to take part
BROAD = [(case, dtypes) for k, case in enumerate(CASES)
         for dtypes in COMBINATIONS[k % 3::3] if case in cases_of(dtypes)]


def print_digests():
    print(json.dumps({"isa": fo.build_info()["isa"], "threads": fo.get_num_threads(), "digests": [
        digest(*run_fastoptim(case, dtypes, LARGE, steps=2)) for case, dtypes in BROAD]}))


@pytest.fixture(scope="module")
def expected_digests():
    return [digest(*run_reference(case, dtypes, LARGE, steps=2)) for case, dtypes in BROAD]


@pytest.mark.parametrize("threads", (1, 2, 3, 7))
@pytest.mark.parametrize("isa", fo.build_info()["isa_available"])
def test_all_instruction_sets_and_threads(isa, threads, expected_digests):
    done = subprocess.run(
        [sys.executable, "-c", "import test_storage_bits as test; test.print_digests()"],
        cwd=Path(__file__).parent, check=True, capture_output=True, text=True,
        env={**os.environ, "FASTOPTIM_ISA": isa, "FASTOPTIM_NUM_THREADS": str(threads)},
    )
    got = json.loads(done.stdout)
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
