// Elements of fewer bytes to float32 and back, as tests/reference_storage.py defines them.
//
// Plain loops in integer and float32 arithmetic, so that every instruction set gives the same
// bytes. None has a branch on an element. Loops count in int: a 64-bit count is converted for every
// lane.
#pragma once

#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

using Bits = std::uint32_t;

inline Bits bits_of(float x) { return __builtin_bit_cast(Bits, x); }
inline float float_of(Bits x) { return __builtin_bit_cast(float, x); }

constexpr Bits sign_bit = 0x80000000, infinity = 0x7f800000, quiet = 1 << 22;

// The finalizer of splitmix64.
inline std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// The random bits of the elements from `begin` on, of which 2^32 share the upper half of their
// index: a word each.
class Counter {
 public:
  Counter(std::uint64_t key, Index begin)
      : begin_(Bits(begin)),
        key_(Bits(key) ^ Bits(key >> 32) ^ Bits(std::uint64_t(begin) >> 32) * 0x9e3779b9) {}

  Bits hash(int i) const {
    Bits x = (begin_ + Bits(i)) ^ key_;
    x ^= x >> 16;
    x *= 0x21f0aaad;
    x ^= x >> 15;
    x *= 0x735a2d97;
    return x ^ (x >> 15);
  }

 private:
  Bits begin_, key_;
};

// Another word, for less.
inline Bits hash_again(Bits word) {
  const Bits x = word * 0x2c1b3c6d;
  return x ^ (x >> 15);
}

// How an operand is rounded: to nearest, or up where random bits carry into what is kept. Those
// are the uppermost of each element's word or the lowest.
enum class Rounding { nearest, uppermost, lowest };

struct Draws {
  const Bits* words = nullptr;
  Rounding rounding = Rounding::nearest;
};

template <Rounding rounding, int bits>
inline Bits drawn(Bits word) {
  return rounding == Rounding::uppermost ? word >> (32 - bits) : word & ((Bits(1) << bits) - 1);
}

inline void decode_bfloat16(const std::uint16_t* __restrict from, float* __restrict x, int n) {
#pragma omp simd
  for (int i = 0; i < n; ++i) x[i] = float_of(Bits(from[i]) << 16);
}

template <Rounding rounding>
void encode_bfloat16(const float* __restrict x, std::uint16_t* __restrict to, const Bits* __restrict words,
                     int n) {
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    // Selected among floats: among the shorter results it would take twice the instructions.
    const Bits u = bits_of(x[i] == x[i] ? x[i] : float_of(infinity | quiet));
    const Bits add = rounding != Rounding::nearest ? drawn<rounding, 16>(words[i]) : 0x7fff + ((u >> 16) & 1);
    to[i] = std::uint16_t((u + add) >> 16);
  }
}

inline void decode_float16(const std::uint16_t* __restrict from, float* __restrict x, int n) {
  constexpr Bits exponent = 0x0f800000, rebias = Bits(127 - 15) << 23, one_more = 1 << 23;
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    const Bits u = Bits(from[i] & 0x7fff) << 13;
    const Bits normal = u + rebias, special = u + 2 * rebias;
    // A subnormal as the mantissa of the smallest normal number, which is then taken off.
    const Bits subnormal = bits_of(float_of(normal + one_more) - float_of(rebias + one_more));
    Bits y = (u & exponent) == 0 ? subnormal : normal;
    y = (u & exponent) == exponent ? special : y;
    x[i] = float_of(y | Bits(from[i] & 0x8000) << 16);
  }
}

template <Rounding rounding>
void encode_float16(const float* __restrict x, std::uint16_t* __restrict to, const Bits* __restrict words,
                    int n) {
  constexpr Bits rebias = Bits(127 - 15) << 23, smallest_normal = Bits(127 - 14) << 23;
  constexpr bool stochastic = rounding != Rounding::nearest;
  constexpr Bits largest = 0x477fe000;  // 65504; beyond it rounding is always to nearest
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    const Bits u = bits_of(x[i]) & ~sign_bit;
    const Bits bits = stochastic ? drawn<rounding, 16>(words[i]) : 0;
    const Bits to_nearest = 0xfff + ((u >> 13) & 1);
    const Bits add = stochastic && u < largest ? bits >> 3 : to_nearest;
    const Bits rounded = (u + add - rebias) >> 13;
    const Bits normal = int(rounded) < 0x7c00 ? rounded : 0x7c00;
    const float small = float_of(u < smallest_normal ? u : smallest_normal);
    // In units of 2^-40; or by a float addition whose last place is worth 2^-24.
    const Bits subnormal = stochastic ? (Bits(int(small * 0x1p40f)) + bits) >> 16
                                      : bits_of(small + 0.5f) - bits_of(0.5f);
    const Bits finite = u < smallest_normal ? subnormal : normal;
    to[i] = std::uint16_t(u > infinity ? 0x7e00 : finite | ((bits_of(x[i]) >> 16) & 0x8000));
  }
}

// q8, one block of n <= q8_block elements with one scale. `top` is the exponent of the largest
// codes, `mantissa` that of the last finite one: what is larger goes into the next scale.
struct Signed {
  using Code = std::int8_t;
  static constexpr int top = 15, infinite = 127, nan = -128;
  static constexpr Bits mantissa = 0x5fff00;
};
struct Unsigned {
  using Code = std::uint8_t;
  static constexpr int top = 31, infinite = 254, nan = 255;
  static constexpr Bits mantissa = 0x500000;
};

template <class Law>
void decode_q8(const typename Law::Code* __restrict codes, std::uint8_t exponent,
               float* __restrict x, int n) {
  const Bits scale = Bits(exponent > Law::top ? exponent - Law::top : 1) << 23;
  std::uint8_t largest = 0;  // also of -128
#pragma omp simd reduction(max : largest)
  for (int i = 0; i < n; ++i) {
    const std::uint8_t magnitude = std::uint8_t(codes[i] < 0 ? -codes[i] : codes[i]);
    largest = magnitude > largest ? magnitude : largest;
  }
  // (float with the pattern of 1.0 + code) - 1, times the scale, which only adds to the exponent.
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    const int code = codes[i], magnitude = code < 0 ? -code : code;
    const float value = float_of((Bits(magnitude) << 20) + scale) - float_of(scale);
    x[i] = float_of(bits_of(value) | (Bits(code) & sign_bit));
  }
  if (__builtin_expect(largest < Law::infinite, 1)) return;
  for (int i = 0; i < n; ++i) {
    if (codes[i] == Law::nan) x[i] = float_of(infinity | quiet);
    else if (codes[i] == Law::infinite) x[i] = float_of(infinity);
    else if (codes[i] == -Law::infinite) x[i] = -float_of(infinity);
  }
}

// Beyond it is infinity.
template <class Law>
constexpr int limit = (254 << 23) + Law::mantissa;

// The scale of a block, and whether no element of it is beyond the limit.
struct Scale {
  std::uint8_t exponent;
  bool all_finite;
};

template <class Law>
Scale choose_scale(const float* __restrict x, int n) {
  int largest = 0;
#pragma omp simd reduction(max : largest)
  for (int i = 0; i < n; ++i) {
    const int u = int(bits_of(x[i]) & ~sign_bit);
    largest = u > largest ? u : largest;
  }
  const bool all_finite = largest <= limit<Law>;
  if (__builtin_expect(!all_finite, 0)) {
    largest = 0;
    for (int i = 0; i < n; ++i) {
      const int u = int(bits_of(x[i]) & ~sign_bit);
      if (u <= limit<Law> && u > largest) largest = u;
    }
  }
  const int carried = int((Bits(largest) + 0x7fffff - Law::mantissa) >> 23);
  return {std::uint8_t(carried > Law::top ? carried : Law::top + 1), all_finite};
}

template <class Law, Rounding rounding>
void encode_q8(const float* __restrict x, typename Law::Code* __restrict codes, Scale scale,
               const Bits* __restrict words, int n) {
  using Code = typename Law::Code;
  constexpr bool is_signed = Law::nan < 0;
  // Twice the units and twice the 1, since the pattern of 2.0, unlike that of 1.0, ends with eight
  // zeros where the code ends: it need not be taken off.
  const float units = float_of(Bits(255 + Law::top - scale.exponent) << 23);
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    const Bits pattern = bits_of(float_of(bits_of(x[i]) & ~sign_bit) * units + 2.0f);
    const Bits add = rounding == Rounding::nearest ? 0x80000 : drawn<rounding, 20>(words[i]);
    const Bits code = (pattern + add) >> 20;
    const Bits sign = is_signed ? Bits(int(bits_of(x[i])) >> 31) : 0;
    codes[i] = Code((code ^ sign) - sign);
  }
  if (__builtin_expect(scale.all_finite, 1)) return;
  for (int i = 0; i < n; ++i) {
    const Bits u = bits_of(x[i]), magnitude = u & ~sign_bit;
    if (magnitude > infinity) codes[i] = Code(Law::nan);
    else if (magnitude > Bits(limit<Law>))
      codes[i] = Code(is_signed && (u & sign_bit) ? -Law::infinite : Law::infinite);
  }
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
