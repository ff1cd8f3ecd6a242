"""What elements of fewer bytes must hold: codecs, unbiased rounding, master copies, refusals."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest

import fastoptim as fo

from support import reference_storage
from support.reference_storage import SIGNED, UNSIGNED
from support.refusal import refused

BF16, F16, F32 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16), np.dtype(np.float32)
HALVES = {"bfloat16": BF16, "float16": F16}
PATTERNS = np.arange(65536, dtype=np.uint16)
each_half = pytest.mark.parametrize("name", HALVES)


def encoded(x, name, rounding="nearest", seed=0, t=1):
    """x in fewer bytes by a step: with beta 0 a velocity is the gradient."""
    v = np.zeros(x.shape, HALVES[name])
    fo.momentum_(np.zeros_like(x), x, v, beta=0.0, t=t, lr=0.0, seed=seed, rounding=rounding)
    return v


def some_float32(n=10_000_000):
    """Patterns of every kind, float16's range and ties of both types among them."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**32, n, dtype=np.uint32)
    x[::4] = (rng.standard_normal(x[::4].size) * 2.0 ** rng.integers(-28, 17, x[::4].size)
              ).astype(np.float32).view(np.uint32)
    x[1::8] = x[1::8] & 0xFFFF0000 | 0x8000
    x[2::8] = x[2::8] & 0xFFFFE000 | 0x1000
    x[:5] = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32).view(np.uint32)
    return x.view(np.float32)


# Codecs


@each_half
def test_every_pattern_decodes_exactly(name):
    g = PATTERNS.view(HALVES[name])
    v = np.zeros(g.shape, np.float32)
    fo.momentum_(np.zeros_like(v), g, v, beta=0.0)
    np.testing.assert_array_equal(v, g.astype(np.float32))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast", "ignore:invalid value")
@each_half
def test_rounding_to_nearest_is_that_of_the_types_own_package(name):
    for x in (PATTERNS.view(HALVES[name]).astype(np.float32), some_float32()):
        got, expected = encoded(x, name), x.astype(HALVES[name])
        nan = np.isnan(x)
        assert np.isnan(got[nan]).all()
        differ = got.view(np.uint16)[~nan] != expected.view(np.uint16)[~nan]
        # 0*v + g has no negative zero.
        assert (x[~nan][differ] == 0).all()


@each_half
def test_random_rounding_is_to_a_neighbour_and_leaves_exact_values(name):
    exact = PATTERNS.view(HALVES[name]).astype(np.float32)
    for seed in range(3):
        np.testing.assert_array_equal(encoded(exact, name, "stochastic", seed).astype(F32), exact)
    x = some_float32(1_000_000)
    x = x[np.isfinite(x)]
    got = encoded(x, name, "stochastic").astype(F32)
    with np.errstate(over="ignore", invalid="ignore"):
        near = x.astype(HALVES[name])
        up, down = (np.nextafter(near, HALVES[name].type(s * np.inf)).astype(F32) for s in (1, -1))
        near = near.astype(F32)
    other = np.where(x > near, up, down)
    assert ((got == near) | (got == other)).all()
    if name == "float16":  # beyond the largest it goes where rounding to nearest does
        beyond = np.abs(x) >= 65504
        assert (got[beyond] == near[beyond]).all()


@pytest.mark.long
@each_half
def test_the_mean_over_seeds_is_the_value(name):
    n = 100_000
    x = np.array([1 / 3, 1.0009765, -2.7, 65503.0, 3e-5, 4.1e-8, -1.7e-7, 1e3 + 0.1], np.float32)
    total = np.zeros(x.shape)
    square = np.zeros(x.shape)
    p, v = np.zeros_like(x), np.zeros(x.shape, HALVES[name])
    for seed in range(n):
        fo.momentum_(p, x, v, beta=0.0, lr=0.0, seed=seed)
        y = v.astype(np.float64)
        total += y
        square += y * y
    mean = total / n
    error = np.sqrt(np.maximum(square / n - mean**2, 0) / n)
    assert (np.abs(mean - x) <= 4 * error).all(), (mean - x) / error


def q8_values(law):
    """All finite codes of a law at scales small and large, each block with the largest code."""
    top = law.infinity - 1
    codes = np.arange(-top if law.signed else 0, top + 1)
    blocks = [np.append(part, top) for part in np.array_split(codes, 3)]
    return [(block.astype(law.dtype), np.array([exponent], np.uint8))
            for exponent in (law.top + 1, 100, 127, 254) for block in blocks]


def signed_q8(x, rounding, seed):
    """Codes and scales of x: a velocity, as in `encoded`."""
    opt = fo.Momentum(np.zeros_like(x), state_dtype="q8", beta=0.0, lr=0.0, seed=seed,
                      rounding=rounding)
    opt.step(x)
    return opt.state[0]["v"], opt.state[0]["v_scales"]


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_every_code_of_q8_comes_back(rounding):
    for codes, scales in q8_values(SIGNED):
        x = fo.storage.dequantize(codes, scales)
        assert np.array_equal(x, reference_storage.decode_q8(codes, scales))
        got, got_scales = signed_q8(x, rounding, 5)
        assert np.array_equal(got, codes) and np.array_equal(got_scales, scales)
    # The unsigned law's state is what beta = 1 - 2^-53 leaves of itself: all of it, in float32.
    for codes, scales in q8_values(UNSIGNED):
        assert np.array_equal(fo.storage.dequantize(codes, scales),
                              reference_storage.decode_q8(codes, scales))
        opt = fo.RMSProp(np.zeros(codes.size, np.float32), state_dtype="q8", beta=1 - 2**-53,
                         rounding=rounding)
        opt.state[0]["s"][...] = codes
        opt.state[0]["s_scales"][...] = scales
        opt.step(np.zeros(codes.size, np.float32))
        assert np.array_equal(opt.state[0]["s"], codes)
        assert np.array_equal(opt.state[0]["s_scales"], scales)


@pytest.mark.parametrize("law", [SIGNED, UNSIGNED], ids=["signed", "unsigned"])
def test_q8_is_monotone(law):
    low = -law.infinity if law.signed else 0
    values = fo.storage.dequantize(np.arange(low, law.infinity + 1).astype(law.dtype),
                                   np.full(2, 120, np.uint8))
    assert (np.diff(values) > 0).all()
    if law.signed:
        codes, _ = signed_q8(np.linspace(-1, 1, 128, dtype=np.float32), "nearest", 0)
        assert (np.diff(codes.astype(int)) >= 0).all()


def test_q8_keeps_nan_and_infinities_to_themselves():
    x = np.ones(300, np.float32)
    x[[3, 130, 131]] = np.nan, np.inf, -np.inf
    codes, scales = signed_q8(x, "stochastic", 0)
    got = fo.storage.dequantize(codes, scales)
    assert np.array_equal(np.isnan(got), np.isnan(x)) and np.isposinf(got[130])
    assert np.isneginf(got[131])
    rest = np.isfinite(x)
    assert (np.abs(got[rest] - 1) < 0.13).all()
    opt = fo.RMSProp(np.zeros(4, np.float32), state_dtype="q8")
    for _ in range(3):
        opt.step(np.array([1, np.nan, np.inf, 0], np.float32))
    s = fo.storage.dequantize(opt.state[0]["s"], opt.state[0]["s_scales"])
    assert s[0] > 0 and np.isnan(s[1]) and np.isposinf(s[2]) and s[3] == 0


def test_dequantize_keeps_the_layout():
    p = np.zeros((40, 30), np.float32).T
    opt = fo.Momentum(p, state_dtype="q8", beta=0.0)
    g = np.arange(1200, dtype=np.float32).reshape(p.shape)
    opt.step(g)
    got = fo.storage.dequantize(opt.state[0]["v"], opt.state[0]["v_scales"])
    assert got.strides == p.strides and np.allclose(got, g, atol=0.14 * 1200, rtol=0.14)


# Training


@pytest.mark.parametrize("state_dtype", ["bfloat16", "q8"])
def test_bfloat16_weights_of_one_move(state_dtype):
    p = np.ones(10_000, BF16)
    opt = fo.Adam(p, np.ones(10_000, BF16), lr=1e-3, state_dtype=state_dtype)
    for _ in range(100):
        opt.step()
    assert abs(p.astype(np.float64).mean() - 0.900) < 0.001


# Gradients over six orders of magnitude. Those that share a scale in q8 differ by four: at six,
# the smallest of a block are stored as zero most of the time, and docs/storage.md says so.
@pytest.mark.parametrize("state_dtype, within, kind, most", [
    ("bfloat16", 6, "dense", 0.03),
    ("bfloat16", 6, "sparse", 0.03),
    ("q8", 4, "dense", 0.12),
    ("q8", 4, "sparse", 0.135),
])
def test_the_second_moment_is_that_of_float64(state_dtype, within, kind, most):
    n, steps, rng = 4096, 5000, np.random.default_rng(0)
    magnitude = 10.0 ** (rng.uniform(-within, 0, n)
                         + np.repeat(rng.uniform(within - 6, 0, n // 128), 128))
    p, g, v = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n)
    opt = fo.Adam(p, g, state_dtype=state_dtype, lr=0.0)
    for _ in range(steps):
        g[...] = rng.standard_normal(n, np.float32) * magnitude
        if kind == "sparse":
            g *= rng.random(n) < 0.05
        opt.step()
        v = 0.999 * v + 0.001 * g.astype(np.float64)**2
    s = opt.state[0]
    got = fo.storage.dequantize(s["v"], s["v_scales"]) if state_dtype == "q8" else s["v"]
    ratio = np.sqrt(got.astype(np.float64)) / np.sqrt(v)
    assert 0.97 <= np.median(ratio) <= 1.03
    assert np.sqrt(np.mean((ratio - 1)**2)) <= most


# Master copies


@each_half
def test_a_master_is_a_float32_run_whose_rounded_copy_is_the_parameter(name):
    rng = np.random.default_rng(0)
    base = rng.standard_normal((64, 30, 2)).astype(HALVES[name])
    p = base[..., 0].T
    float32 = p.astype(np.float32)
    opt = fo.AdamW(p, master=True, lr=0.01, seed=1)
    plain = fo.AdamW(float32, lr=0.01)
    neighbours = base[..., 1].copy()
    for _ in range(20):
        g = rng.standard_normal(p.shape).astype(np.float32)
        opt.step(g)
        plain.step(g)
        assert opt.state[0]["master"].tobytes() == float32.tobytes()
        assert p.tobytes() == float32.astype(HALVES[name]).tobytes()
    assert (base[..., 1] == neighbours).all()
    again = fo.AdamW(p, master=True, lr=0.01)
    again.load_state_dict(opt.state_dict())
    assert again.state[0]["master"].tobytes() == float32.tobytes()


def test_a_master_of_float32_is_the_parameter_itself():
    p = np.ones(5, np.float32)
    assert list(fo.Adam(p, master=True).state[0]) == ["m", "v"]


@pytest.mark.parametrize("kind", ["bfloat16", "bfloat16 as uint16", "float16"])
@pytest.mark.parametrize("view", [lambda x: x, lambda x: x.reshape(256, 256).T[::-1, ::2],
                                  lambda x: x[3:]], ids=["flat", "strided", "offset"])
def test_a_master_begins_as_the_parameter_to_the_last_bit(kind, view):
    """Every pattern: -0.0 and what a NaN holds, too."""
    name = kind.split()[0]
    told = kind.endswith("uint16")
    p = view(PATTERNS.view(np.uint16 if told else HALVES[name]).copy())
    opt = fo.Adam(p, master=True, uint16_is_bfloat16=told)
    expected = reference_storage.master(view(PATTERNS), name)
    assert opt.state[0]["master"].tobytes() == expected.tobytes()


def test_a_parameter_of_minus_zero_stays_so_under_its_master():
    p = np.full(300, -0.0, BF16)
    opt = fo.SGD(p, master=True)
    opt.step(np.full(300, 0.0, BF16))  # -0 - 0.01*0
    assert np.signbit(opt.state[0]["master"]).all() and np.signbit(p.astype(F32)).all()


# Arrays and options


@pytest.mark.parametrize("make, square", [(fo.RMSProp, "s"), (fo.Adam, "v"), (fo.AdamW, "v")])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_squares_are_not_kept_in_float16(make, square, dtype):
    """The square of a gradient of 1e-4 would be 0 there, and the parameter leap."""
    p = np.zeros(3, HALVES.get(dtype, F32))
    with refused(ValueError, "state_dtype must be None, 'float32', 'bfloat16' or 'q8' for .*, "
                 f"whose state '{square}' holds squares, got 'float16', .*: 'bfloat16' takes", p):
        make(p, state_dtype="float16")


def test_the_functional_layer_keeps_no_squares_in_float16():
    p, g = np.zeros((2, 3), F32)
    m, half, v = np.zeros(3, F16), np.zeros(3, F16), np.zeros(3, F32)
    refusals = [("v", lambda: fo.adam_(p, g, m, half, t=1)),
                ("v_max", lambda: fo.adam_(p, g, m, v, t=1, v_max=half, amsgrad=True)),
                ("s", lambda: fo.rmsprop_(p, g, half))]
    for name, call in refusals:
        with refused(TypeError, f"^{name} must not be float16, .*: bfloat16 takes no more bytes",
                     p, m, v, half):
            call()
    fo.adam_(p, g, m, v, t=1)
    fo.momentum_(p, g, half)


def test_states_that_are_no_squares_may_be_float16():
    for make in (fo.SGD, fo.Momentum):
        opt = make(np.zeros(3, F32), state_dtype="float16")
        opt.step(np.ones(3, F32))
        assert all(x.dtype == F16 for x in opt.state[0].values())


def test_bfloat16_as_uint16_only_where_told():
    p, g = np.full(300, 0x3F80, np.uint16), np.full(300, 0x3F80, np.uint16)
    with refused(TypeError, "parameter 0 must have dtype float32, float64, bfloat16 or float16 in "
                 "native byte order, got uint16", p):
        fo.Adam(p)
    q = p.view(BF16).copy()
    for array, gradient, told in ((p, g, True), (q, g.view(BF16), False)):
        opt = fo.Adam(array, uint16_is_bfloat16=told, state_dtype="bfloat16", master=True)
        opt.step(gradient)
        opt.step(gradient)
        assert opt.state[0]["v"].dtype == (np.uint16 if told else BF16)
    assert (p == q.view(np.uint16)).all() and p[0] != 0x3F80
    other = fo.Adam(q, state_dtype="bfloat16", master=True)
    other.load_state_dict(fo.Adam(p, uint16_is_bfloat16=True, state_dtype="bfloat16",
                                  master=True).state_dict())


@pytest.mark.parametrize("p, g, match", [
    (np.zeros(3, BF16), np.zeros(3, F16), "grad 0 must have dtype bfloat16 or float32 for "
     "parameter 0 of bfloat16, got float16"),
    (np.zeros(3, F16), np.zeros(3), "grad 0 must have dtype float16 or float32 for parameter 0 of "
     "float16, got float64"),
    (np.zeros(3, F32), np.zeros(3, np.int32), "grad 0 must have dtype float32, bfloat16 or "
     "float16 for parameter 0 of float32, got int32"),
    (np.zeros(3, F32), np.zeros(3, BF16.newbyteorder()), "grad 0 must have dtype"),
    (np.zeros(3), np.zeros(3, BF16), "grad 0 must have dtype float64 like parameter 0"),
], ids=str)
def test_gradients_of_other_types_are_refused_with_those_that_go(p, g, match):
    opt = fo.Adam(p)
    with refused(TypeError, match, p, opt):
        opt.step(g)
    with refused(TypeError, match, p):
        fo.Adam(p, g)


@pytest.mark.parametrize("dtype", [np.int32, np.complex64, np.uint8, ml_dtypes.float8_e5m2])
def test_parameters_of_other_types_are_refused(dtype):
    with pytest.raises(TypeError, match="parameter 0 must have dtype float32, float64, bfloat16 "
                                        "or float16 in native byte order, got"):
        fo.SGD(np.zeros(3, dtype))


@pytest.mark.parametrize("options, error, match", [
    ({"state_dtype": "int8"}, ValueError, "state_dtype must be None or one of float32, bfloat16, "
     "float16, q8, got 'int8'"),
    ({"rounding": "up"}, ValueError, "rounding must be one of stochastic, nearest, got 'up'"),
    ({"seed": -1}, ValueError, "seed must be"),
    ({"seed": 2**64}, ValueError, "seed must be"),
    ({"seed": 0.5}, TypeError, "seed must be an integer, got 0.5"),
    ({"master": 1}, TypeError, "master must be True or False, got 1"),
])
def test_wrong_options_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        fo.Adam(np.zeros(3, np.float32), **options)


@pytest.mark.parametrize("state_dtype", ["float32", "bfloat16", "float16", "q8"])
def test_float64_keeps_float64_states(state_dtype):
    with pytest.raises(ValueError, match="state_dtype must be None for parameter 0 of float64, "
                                         f"whose states are float64 too, got '{state_dtype}'"):
        fo.Momentum(np.zeros(3), state_dtype=state_dtype)


def test_what_was_saved_otherwise_is_refused():
    p = np.zeros((4, 300), np.float32)
    opt = fo.Adam(p, state_dtype="q8")
    other = fo.Adam(p.copy(), state_dtype="bfloat16")
    with refused(ValueError, "state_dtype must be 'q8' as it is here, got 'bfloat16'", p, opt):
        opt.load_state_dict(other.state_dict())
    turned = fo.Adam(np.zeros((300, 4), np.float32).T, state_dtype="q8")
    with refused(ValueError, "state 'm' of 0 must have strides", p, opt):
        opt.load_state_dict(turned.state_dict())


def test_codes_and_scales_that_are_locked_are_refused():
    p = np.zeros(300, np.float32)
    opt = fo.Momentum(p, state_dtype="q8")
    opt.state[0]["v_scales"].flags.writeable = False
    with refused(ValueError, "the scales of state 'v' of 0 must be writable", p, opt):
        opt.step(p.copy())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_q8_takes_two_bytes_a_parameter_and_a_step_allocates_nothing(dtype):
    n = 1_000_000
    p = np.zeros(n, HALVES.get(dtype, F32))
    opt = fo.Adam(p, np.ones_like(p), state_dtype="q8")
    assert sum(x.nbytes for x in opt.state[0].values()) <= 2.05 * n
    opt.step()
    tracemalloc.start()
    for _ in range(3):
        opt.step()
    assert tracemalloc.get_traced_memory()[1] < 10_000
    tracemalloc.stop()
