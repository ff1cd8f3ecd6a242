// Elements of fewer bytes to float32 and back, as tests/reference_storage.py defines them.
//
// Plain loops in integer and float32 arithmetic, so that every instruction set gives the same
// bytes. None has a branch on an element.
#pragma once

#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

using Bits = std::uint32_t;

inline Bits bits_of(float x) { return __builtin_bit_cast(Bits, x); }
inline float float_of(Bits x) { return __builtin_bit_cast(float, x); }

constexpr Bits sign_bit = 0x80000000, infinity = 0x7f800000, one = 0x3f800000;

// The finalizer of splitmix64.
inline std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// One word of random bits for each of elements [begin, begin + n), of which n may cross no
// multiple of 2^32.
inline void draw(Bits* __restrict words, Bits key, Index begin, Index n) {
  const Bits start = (key ^ Bits(std::uint64_t(begin) >> 32) * 0x9e3779b9) + Bits(begin);
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    Bits x = start + Bits(i);
    x ^= x >> 16;
    x *= 0x21f0aaad;
    x ^= x >> 15;
    x *= 0x735a2d97;
    words[i] = x ^ (x >> 15);
  }
}

// The 16 random bits of each element that belong to one operand; none to round to nearest.
struct Draws {
  const Bits* words = nullptr;
  int shift = 0;

  Bits operator[](Index i) const { return (words[i] >> shift) & 0xffff; }
};

inline void decode_bfloat16(const std::uint16_t* __restrict from, float* __restrict x, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) x[i] = float_of(Bits(from[i]) << 16);
}

template <bool stochastic>
void encode_bfloat16(const float* __restrict x, std::uint16_t* __restrict to, Draws draws,
                     Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const Bits u = bits_of(x[i]);
    const Bits add = stochastic ? draws[i] : 0x7fff + ((u >> 16) & 1);
    to[i] = std::uint16_t((u & ~sign_bit) > infinity ? 0x7fc0 : (u + add) >> 16);
  }
}

inline void decode_float16(const std::uint16_t* __restrict from, float* __restrict x, Index n) {
  constexpr Bits exponent = 0x0f800000, rebias = Bits(127 - 15) << 23, one_more = 1 << 23;
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const Bits u = Bits(from[i] & 0x7fff) << 13;
    const Bits normal = u + rebias, special = u + 2 * rebias;
    // A subnormal as the mantissa of the smallest normal number, which is then taken off.
    const Bits subnormal = bits_of(float_of(normal + one_more) - float_of(rebias + one_more));
    Bits y = (u & exponent) == 0 ? subnormal : normal;
    y = (u & exponent) == exponent ? special : y;
    x[i] = float_of(y | Bits(from[i] & 0x8000) << 16);
  }
}

template <bool stochastic>
void encode_float16(const float* __restrict x, std::uint16_t* __restrict to, Draws draws,
                    Index n) {
  constexpr Bits rebias = Bits(127 - 15) << 23, smallest_normal = Bits(127 - 14) << 23;
  constexpr Bits largest = 0x477fe000;  // 65504; beyond it rounding is always to nearest
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const Bits u = bits_of(x[i]) & ~sign_bit;
    const Bits to_nearest = 0xfff + ((u >> 13) & 1);
    const Bits add = stochastic && u < largest ? draws[i] >> 3 : to_nearest;
    const Bits rounded = (u + add - rebias) >> 13;
    const Bits normal = int(rounded) < 0x7c00 ? rounded : 0x7c00;
    const float small = float_of(u < smallest_normal ? u : smallest_normal);
    // In units of 2^-40; or by a float addition whose last place is worth 2^-24.
    const Bits subnormal = stochastic ? (Bits(int(small * 0x1p40f)) + draws[i]) >> 16
                                      : bits_of(small + 0.5f) - bits_of(0.5f);
    const Bits finite = u < smallest_normal ? subnormal : normal;
    to[i] = std::uint16_t(u > infinity ? 0x7e00 : finite | ((bits_of(x[i]) >> 16) & 0x8000));
  }
}

// q8, one block of n <= q8_block elements with one scale. `top` is the exponent of the largest
// codes; `carry` brings a mantissa above that of the last finite code to the next exponent.
struct Signed {
  using Code = std::int8_t;
  static constexpr int top = 15, infinite = 127, nan = -128;
  static constexpr Bits carry = 0x2000ff;
};
struct Unsigned {
  using Code = std::uint8_t;
  static constexpr int top = 31, infinite = 254, nan = 255;
  static constexpr Bits carry = 0x2fffff;
};

template <class Law>
void decode_q8(const typename Law::Code* __restrict codes, std::uint8_t exponent,
               float* __restrict x, Index n) {
  const float scale =
      float_of(Bits(exponent > Law::top ? exponent - Law::top : 1) << 23);
  int specials = 0;
#pragma omp simd reduction(| : specials)
  for (Index i = 0; i < n; ++i) {
    const int code = codes[i], magnitude = code < 0 ? -code : code;
    const float value = (float_of((Bits(magnitude) << 20) + one) - 1.0f) * scale;
    x[i] = float_of(bits_of(value) | (Bits(code) & sign_bit));
    specials |= magnitude >= Law::infinite;
  }
  if (__builtin_expect(specials, 0)) {
    for (Index i = 0; i < n; ++i) {
      if (codes[i] == Law::nan) x[i] = float_of(infinity | 1 << 22);
      else if (codes[i] == Law::infinite) x[i] = float_of(infinity);
      else if (codes[i] == -Law::infinite) x[i] = -float_of(infinity);
    }
  }
}

// The codes of finite elements; others get any.
template <class Law, bool stochastic>
void encode_finite_q8(const float* __restrict x, typename Law::Code* __restrict codes,
                      Bits exponent, Draws draws, Index n) {
  constexpr bool is_signed = Law::nan < 0;
  const float units = float_of((254 + Law::top - exponent) << 23);
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const Bits pattern = bits_of(float_of(bits_of(x[i]) & ~sign_bit) * units + 1.0f) - one;
    const Bits code = (pattern + (stochastic ? draws[i] * 16 + 8 : 0x80000)) >> 20;
    const Bits sign = is_signed ? Bits(int(bits_of(x[i])) >> 31) : 0;
    codes[i] = typename Law::Code((code ^ sign) - sign);
  }
}

template <class Law, bool stochastic>
void encode_q8(const float* __restrict x, typename Law::Code* __restrict codes,
               std::uint8_t* __restrict exponent, Draws draws, Index n) {
  int largest = 0;
#pragma omp simd reduction(max : largest)
  for (Index i = 0; i < n; ++i) {
    const int u = int(bits_of(x[i]) & ~sign_bit);
    largest = u > largest ? u : largest;
  }
  const bool all_finite = largest < int(infinity);
  if (__builtin_expect(!all_finite, 0)) {
    largest = 0;
    for (Index i = 0; i < n; ++i) {
      const int u = int(bits_of(x[i]) & ~sign_bit);
      if (u < int(infinity) && u > largest) largest = u;
    }
  }
  const Bits carried = (Bits(largest) + Law::carry) >> 23;
  const Bits chosen = carried > Law::top ? carried : Law::top + 1;
  *exponent = std::uint8_t(chosen);
  encode_finite_q8<Law, stochastic>(x, codes, chosen, draws, n);
  if (__builtin_expect(!all_finite, 0)) {
    for (Index i = 0; i < n; ++i) {
      const Bits u = bits_of(x[i]);
      if ((u & ~sign_bit) > infinity) codes[i] = typename Law::Code(Law::nan);
      else if (u == infinity) codes[i] = Law::infinite;
      else if (u == (sign_bit | infinity)) codes[i] = typename Law::Code(Law::nan < 0 ? -Law::infinite : Law::infinite);
    }
  }
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
