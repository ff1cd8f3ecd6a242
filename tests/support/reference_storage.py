"""The definition of right for elements that are stored in fewer bytes, in plain NumPy.

A codec is a pair: `decode` gives float32, `encode` takes float32 and `draws`, a function from a
number of bits to an integer of so many random bits for each element, or None to round to
nearest. `step` makes a low-precision step of any rule in fastoptim.reference: decode, the rule in
float32, encode.
"""

import numpy as np

U32 = np.uint32
MASK = (1 << 64) - 1


# Random bits: a hash of the seed, the step (from 1), the tensor's number (from 0), and the
# element's index.

def mix64(x):
    """The finalizer of splitmix64."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def hash32(x):
    x = x ^ (x >> U32(16))
    x = x * U32(0x21F0AAAD)
    x = x ^ (x >> U32(15))
    x = x * U32(0x735A2D97)
    return x ^ (x >> U32(15))


ROTATIONS = (0, 16, 8, 24)


def random_bits(seed, t, tensor, n, number, first=0):
    """The draws of n elements, from `first` on, for operand `number`: states first, then the
    parameter.

    Elements 2k and 2k + 1 share a word; the first takes its lowest bits, the second its uppermost.
    Each operand has the word in another rotation, so that the uppermost bytes differ.
    """
    key = mix64(mix64(mix64(seed) + t & MASK) + tensor & MASK)
    element = np.arange(first, first + n, dtype=np.uint64)
    pair = element >> np.uint64(1)
    upper = (pair >> np.uint64(32)).astype(U32) * U32(0x9E3779B9)
    words = hash32(pair.astype(U32) ^ upper ^ U32(key >> 32) ^ U32(key & 0xFFFFFFFF))
    if places := ROTATIONS[number]:
        words = words << U32(places) | words >> U32(32 - places)
    odd = element % 2 == 1
    return lambda bits: np.where(odd, words >> U32(32 - bits), words & U32((1 << bits) - 1))


# bfloat16: the upper half of a float32. Every NaN is stored as 7fc0.

def decode_bfloat16(codes):
    return (codes.view(np.uint16).astype(U32) << U32(16)).view(np.float32)


def encode_bfloat16(x, draws=None):
    u = x.view(U32)
    add = U32(0x7FFF) + (u >> U32(16) & U32(1)) if draws is None else draws(16)
    return np.where(np.isnan(x), U32(0x7FC0), u + add >> U32(16)).astype(np.uint16)


# float16. Beyond the largest finite number both ways round to nearest. Every NaN is stored as
# 7e00.

def decode_float16(codes):
    return codes.view(np.float16).astype(np.float32)


def encode_float16(x, draws=None):
    with np.errstate(over="ignore", invalid="ignore"):
        nearest = x.astype(np.float16).view(np.uint16)
        if draws is not None:
            magnitude = np.abs(x).astype(np.float64)
            _, exponent = np.frexp(np.where(np.isfinite(x), magnitude, 1))
            quantum = np.ldexp(1.0, np.maximum(exponent - 1, -14) - 10)
            # Where normal, 13 bits are cut off and as many are drawn; below, 16 are drawn, and
            # what lies under 2^-40 is dropped.
            units = magnitude / quantum
            units = np.where(magnitude < 2.0**-14, np.floor(units * 2**16) / 2**16, units)
            drawn = np.where(magnitude < 2.0**-14, draws(16) / 2**16, (draws(16) >> U32(3)) / 2**13)
            rounded = np.copysign(np.floor(units + drawn) * quantum, x).astype(np.float16)
            nearest = np.where(magnitude <= 65504, rounded.view(np.uint16), nearest)
    return np.where(np.isnan(x), np.uint16(0x7E00), nearest).astype(np.uint16)


# q8: blocks of 128 elements that share a power of two, the scale. The code of x is made of the
# top bits of the float32 pattern of |x|/scale + 1, less that of 1: near zero its steps are
# even, above they grow with x. Signed laws (int8) have 4 exponent and 3 mantissa bits, unsigned
# ones (uint8, for squares) 5 and 3. The last codes are infinity and, -128 or 255, NaN. What is
# beyond the last finite code of the largest scale is stored as infinity.

BLOCK = 128
ONE = 0x3F800000


class Law:
    def __init__(self, signed):
        self.signed = signed
        self.top = 15 if signed else 31  # exponent of the largest codes
        self.infinity = 127 if signed else 254
        self.nan = -128 if signed else 255
        self.dtype = np.int8 if signed else np.uint8
        # The largest mantissa that is encoded with its own exponent: that of the last code
        # but infinity. The next goes into the next scale.
        largest = self.magnitude(np.array([self.infinity - 1]))
        self.mantissa = largest.view(U32)[0] & U32(0x7FFFFF)
        self.largest = U32(254 << 23) + self.mantissa

    def magnitude(self, codes):
        """Of codes >= 0, in units of the scale."""
        return ((codes.astype(U32) << U32(20)) + U32(ONE)).view(np.float32) - np.float32(1)


SIGNED, UNSIGNED = Law(True), Law(False)


def law_of(codes):
    return SIGNED if codes.dtype == np.int8 else UNSIGNED


def power_of_two(biased_exponent):
    return (np.asarray(biased_exponent, U32) << U32(23)).view(np.float32)


def decode_q8(codes, scales):
    law = law_of(codes)
    codes = codes.astype(np.int32)
    exponent = np.maximum(scales.astype(np.int32), law.top + 1)
    scale = np.repeat(power_of_two(exponent - law.top), BLOCK)[:codes.size]
    with np.errstate(over="ignore"):  # a code that is replaced below
        x = law.magnitude(np.abs(codes)) * scale
    x = np.where(np.abs(codes) == law.infinity, np.float32(np.inf), x)
    x = np.where(codes == law.nan, np.float32(np.nan), x)
    return np.where((codes < 0) & (codes != law.nan), -x, x)


def encode_q8(x, law, draws=None):
    """(codes, scales)."""
    n_blocks = -(-x.size // BLOCK)
    u = np.zeros(n_blocks * BLOCK, U32)
    u[:x.size] = x.view(U32) & U32(0x7FFFFFFF)
    finite = np.where(u <= law.largest, u, U32(0))
    largest = finite.reshape(n_blocks, BLOCK).max(1)
    exponent = np.maximum(largest + U32(0x7FFFFF) - law.mantissa >> U32(23), U32(law.top + 1))
    per_element = np.repeat(exponent, BLOCK)[:x.size]
    units = finite[:x.size].view(np.float32) * power_of_two(U32(254 + law.top) - per_element)
    add = U32(0x80000) if draws is None else draws(20)
    pattern = (units + np.float32(1)).view(U32) - U32(ONE)
    codes = (pattern + add >> U32(20)).astype(np.int32)
    codes = np.where(u[:x.size] > law.largest, law.infinity, codes)
    if law.signed:
        codes = np.where(np.signbit(x), -codes, codes)
    return np.where(np.isnan(x), law.nan, codes).astype(law.dtype), exponent.astype(np.uint8)


# Whole steps.

DECODE = {"bfloat16": decode_bfloat16, "float16": decode_float16}
ENCODE = {"bfloat16": encode_bfloat16, "float16": encode_float16}


def master(codes, dtype):
    """The float32 copy that a parameter begins with. No arithmetic: -0.0 stays -0.0, and a NaN
    keeps its sign and all bits of its mantissa, behind which there are zeros.
    """
    x = decode(codes, dtype).view(U32)
    if dtype == "float16":  # NumPy's conversion may make a signalling NaN a quiet one
        bits = codes.astype(U32)
        is_nan = (bits & U32(0x7FFF)) > U32(0x7C00)
        nan = (bits & U32(0x8000)) << U32(16) | U32(0x7F800000) | (bits & U32(0x3FF)) << U32(13)
        x = np.where(is_nan, nan, x)
    return x.view(np.float32)


def decode(x, dtype):
    return x if dtype == "float32" else DECODE[dtype](x)


def step(rule, p, g, s, t, *, dtypes, squares, seed=0, tensor=0, rounding="stochastic", **options):
    """p after step t. All arrays are flat.

    `dtypes` is that of (p, g, states). `s` holds the states as stored: empty at first, then
    float32 or 16-bit patterns by name, and for q8 also the scales, as name + "_scales".
    `squares` are the states that take the unsigned law. p and g are float32 or patterns.
    """
    p_dtype, g_dtype, state_dtype = dtypes
    decoded = {}
    for name in [name for name in s if not name.endswith("_scales")]:
        decoded[name] = (decode_q8(s[name], s[name + "_scales"]) if state_dtype == "q8"
                         else decode(s[name], state_dtype))
    with np.errstate(all="ignore"):
        p = rule(decode(p, p_dtype), decode(g, g_dtype), decoded, t, **options)

    def drawn(number):
        return None if rounding == "nearest" else random_bits(seed, t, tensor, p.size, number)

    for number, (name, x) in enumerate(decoded.items()):
        if state_dtype == "q8":
            law = UNSIGNED if name in squares else SIGNED
            s[name], s[name + "_scales"] = encode_q8(x, law, drawn(number))
        else:
            s[name] = x if state_dtype == "float32" else ENCODE[state_dtype](x, drawn(number))
    return p if p_dtype == "float32" else ENCODE[p_dtype](p, drawn(len(decoded)))
