// Codecs between float32 and types of fewer bytes, as tests/support/reference_storage.py defines
// them. They work on a tile at a time, two elements at a time.
//
// Two adjacent elements are one word. A pair of bfloat16 is decoded by a shift and a mask and encoded
// by a shift and a merge. Widening loads and narrowing stores would saturate the one port that moves
// data across a vector: Adam in bfloat16 takes 0.63 ns an element with words, and 0.89 with those
// (AVX-512, one thread, arrays in L2). A decoded tile holds the even elements first, then the odd
// ones.
//
// The loops are plain integer and float32 arithmetic, so that every instruction set gives the same
// bytes, and have no branch that depends on an element.
#pragma once

#include "constants.hpp"
#include "float_bits.hpp"
#include "hash.hpp"
#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first of two elements is the lower");

using Bits = std::uint32_t;

inline float float_of(Bits x) { return __builtin_bit_cast(float, x); }

constexpr Bits infinity = 0x7f800000, quiet_nan = 0x7fc00000;
constexpr Bits lower_half = 0xffff, upper_half = 0xffff0000;

// Elements of a tile, which is a block of q8. All operands of a tile fit in L1, and its loop is short
// enough for out-of-order execution to start the next tile during the divisions of this one.
constexpr int tile = q8_block, pairs = tile / 2;

// Two elements of two bytes each, and of one byte each, at any address.
using Word = std::uint32_t __attribute__((may_alias, aligned(2)));
using CodePair = std::uint16_t __attribute__((may_alias, aligned(1)));

// A decoded tile, and the random word that each of its pairs is rounded with.
struct Buffer {
  alignas(cache_line) float even[pairs];
  alignas(cache_line) float odd[pairs];
  alignas(cache_line) Bits words[pairs];
};

// A counter-based random generator: word(k) is the random word of pair begin + k. The upper half of
// the pair's index is part of the key, so begin + k must not cross a multiple of 2^32.
class Counter {
 public:
  Counter(std::uint64_t key, Index begin)
      : begin_(Bits(begin)),
        key_(Bits(key) ^ Bits(key >> 32) ^ Bits(std::uint64_t(begin) >> 32) * 0x9e3779b9) {}

  Bits word(int pair) const { return mix32((begin_ + Bits(pair)) ^ key_); }

 private:
  Bits begin_, key_;
};

// The random word of a written operand: the pair's word, rotated. The uppermost byte of a draw decides
// most about rounding; the rotations give each element another such byte in each operand, and the two
// elements of a pair another in the same operand. A hash for each operand would cost four
// instructions more.
template <int number>
inline Bits word_of(Bits word) {
  constexpr int places = number == 0 ? 0 : number == 1 ? 16 : number == 2 ? 8 : 24;
  return word << places | word >> (-places & 31);
}

// The even element of a pair is rounded with the lowest bits of the word, the odd one with the highest.
template <int bits>
inline Bits even_draw(Bits word) {
  return word & ((Bits(1) << bits) - 1);
}
template <int bits>
inline Bits odd_draw(Bits word) {
  return word >> (32 - bits);
}

// nearest: to nearest, ties to even. stochastic: adds random bits below the last bit that is kept, so
// that the value is rounded up with the probability of its fraction.
enum class Rounding { nearest, stochastic };

// x*y + z. Callers have x*y exact or far below z, so that a fused multiply-add rounds to the same.
inline float add_product(float x, float y, float z) {
#ifdef __FMA__
  return __builtin_fmaf(x, y, z);
#else
  return x * y + z;
#endif
}

// bfloat16.

inline float even_bfloat16(Bits word) { return float_of(word << 16); }
inline float odd_bfloat16(Bits word) { return float_of(word & upper_half); }

// Replaces every NaN by quiet_nan. A selection of floats takes fewer instructions than of integers.
inline float one_nan(float x) { return x == x ? x : float_of(quiet_nan); }

// The bits of x plus the rounding increment; the upper half of the sum is the code.
template <Rounding rounding>
inline Bits rounded_bfloat16(float x, Bits draw) {
  const Bits u = bits_of(x);
  return u + (rounding == Rounding::stochastic ? draw : 0x7fff + ((u >> 16) & 1));
}

// A NaN must have zeros in the lower half of its bits: others could carry into another value.
template <Rounding rounding>
inline Bits encode_bfloat16(float even, float odd, Bits word) {
  return rounded_bfloat16<rounding>(even, even_draw<16>(word)) >> 16 |
         (rounded_bfloat16<rounding>(odd, odd_draw<16>(word)) & upper_half);
}

// Replaces every NaN of a tile by quiet_nan.
inline void unify_nans(std::uint16_t* codes) {
#pragma omp simd
  for (int i = 0; i < tile; ++i)
    codes[i] = (codes[i] & 0x7fff) > infinity >> 16 ? std::uint16_t(quiet_nan >> 16) : codes[i];
}

// float16: codes lie in the lower half of a word.

inline float decode_float16(Bits code) {
  constexpr Bits exponent = 0x0f800000, rebias = Bits(127 - 15) << 23, one_more = 1 << 23;
  const Bits u = (code & 0x7fff) << 13;
  const Bits normal = u + rebias, special = u + 2 * rebias;
  // The bits of a subnormal become the mantissa of 2^-14, and 2^-14 is subtracted.
  const Bits subnormal = bits_of(float_of(normal + one_more) - float_of(rebias + one_more));
  Bits y = (u & exponent) == 0 ? subnormal : normal;
  y = (u & exponent) == exponent ? special : y;
  return float_of(y | (code & 0x8000) << 16);
}

template <Rounding rounding>
inline Bits encode_float16(float x, Bits draw) {
  constexpr Bits rebias = Bits(127 - 15) << 23, smallest_normal = Bits(127 - 14) << 23;
  constexpr bool stochastic = rounding == Rounding::stochastic;
  constexpr Bits largest = 0x477fe000;  // 65504; beyond it rounding is always to nearest
  const Bits u = bits_of(x) & ~sign_bit<float>;
  const Bits to_nearest = 0xfff + ((u >> 13) & 1);
  const Bits add = stochastic && u < largest ? draw >> 3 : to_nearest;
  const Bits rounded = (u + add - rebias) >> 13;
  const Bits normal = int(rounded) < 0x7c00 ? rounded : 0x7c00;
  const float small = float_of(u < smallest_normal ? u : smallest_normal);
  // Stochastic: in units of 2^-40. To nearest: 0.5 + small rounds to a multiple of 2^-24.
  const Bits subnormal = stochastic ? (Bits(int(small * 0x1p40f)) + draw) >> 16
                                    : bits_of(small + 0.5f) - bits_of(0.5f);
  const Bits finite = u < smallest_normal ? subnormal : normal;
  return u > infinity ? 0x7e00 : finite | ((bits_of(x) >> 16) & 0x8000);
}

// Tiles of two-byte elements.

inline void decode_bfloat16(const Word* __restrict words, Buffer& __restrict x) {
#pragma omp simd
  for (int i = 0; i < pairs; ++i) {
    x.even[i] = even_bfloat16(words[i]);
    x.odd[i] = odd_bfloat16(words[i]);
  }
}

inline void decode_float16(const Word* __restrict words, Buffer& __restrict x) {
#pragma omp simd
  for (int i = 0; i < pairs; ++i) {
    x.even[i] = decode_float16(words[i] & lower_half);
    x.odd[i] = decode_float16(words[i] >> 16);
  }
}

template <Rounding rounding>
void encode_bfloat16(const Buffer& __restrict x, Word* __restrict codes) {
#pragma omp simd
  for (int i = 0; i < pairs; ++i)
    codes[i] = encode_bfloat16<rounding>(one_nan(x.even[i]), one_nan(x.odd[i]), x.words[i]);
}

template <Rounding rounding>
void encode_float16(const Buffer& __restrict x, Word* __restrict codes) {
#pragma omp simd
  for (int i = 0; i < pairs; ++i) {
    const Bits word = x.words[i];
    codes[i] = encode_float16<rounding>(x.even[i], even_draw<16>(word)) |
               encode_float16<rounding>(x.odd[i], odd_draw<16>(word)) << 16;
  }
}

// q8: a tile is a block with one scale. `top` is the exponent of the largest codes, and `mantissa` is
// the mantissa of the largest finite code: a block with a larger number takes the next scale.
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
void decode_q8(const typename Law::Code* codes, std::uint8_t exponent, Buffer& __restrict x) {
  constexpr bool is_signed = Law::nan < 0;
  // First to sign and magnitude, as bytes: a vector holds four times as many of them as of words.
  alignas(cache_line) std::uint8_t bytes[tile];
  std::uint8_t largest = 0;  // also of -128
#pragma omp simd reduction(max : largest)
  for (int i = 0; i < tile; ++i) {
    const std::uint8_t magnitude = std::uint8_t(codes[i] < 0 ? -codes[i] : codes[i]);
    bytes[i] = is_signed ? magnitude | (codes[i] & 0x80) : magnitude;
    largest = magnitude > largest ? magnitude : largest;
  }
  // (the float with the bits of 1.0 + code) - 1, times the scale, which only adds to the exponent.
  const Bits scale = Bits(exponent > Law::top ? exponent - Law::top : 1) << 23;
  const auto decode = [=](Bits magnitude, Bits sign) {
    const Bits code = magnitude & (is_signed ? 0x7f << 20 : 0xff << 20);
    const float value = float_of(code + scale) - float_of(scale);
    return is_signed ? float_of(bits_of(value) | (sign & sign_bit<float>)) : value;
  };
  const CodePair* const pair = reinterpret_cast<const CodePair*>(bytes);
#pragma omp simd
  for (int i = 0; i < pairs; ++i) {
    const Bits both = pair[i];
    x.even[i] = decode(both << 20, both << 24);
    x.odd[i] = decode(both << 12, both << 16);
  }
  if (__builtin_expect(largest < Law::infinite, 1)) return;
  for (int i = 0; i < tile; ++i) {
    float& value = (i % 2 == 0 ? x.even : x.odd)[i / 2];
    if (codes[i] == Law::nan)
      value = float_of(quiet_nan);
    else if (codes[i] == Law::infinite)
      value = float_of(infinity);
    else if (codes[i] == -Law::infinite)
      value = -float_of(infinity);
  }
}

// The bits of the largest magnitude that is encoded as a finite number; above it is infinity.
template <class Law>
constexpr Bits limit = (254 << 23) + Law::mantissa;

template <class Law, Rounding rounding>
void encode_q8(const Buffer& __restrict x, typename Law::Code* codes, std::uint8_t& exponent) {
  using Code = typename Law::Code;
  constexpr bool is_signed = Law::nan < 0;
  // Unsigned: squares have no sign bit to clear. A NaN with one is the largest integer too.
  constexpr Bits kept = is_signed ? ~sign_bit<float> : ~Bits(0);
  Bits largest = 0;
#pragma omp simd reduction(max : largest)
  for (int i = 0; i < pairs; ++i) {
    const Bits u = bits_of(x.even[i]) & kept, w = bits_of(x.odd[i]) & kept;
    const Bits larger = u > w ? u : w;
    largest = larger > largest ? larger : largest;
  }
  const bool all_finite = largest <= limit<Law>;
  if (__builtin_expect(!all_finite, 0)) {
    largest = 0;
    for (int i = 0; i < tile; ++i) {
      const Bits u = bits_of((i % 2 == 0 ? x.even : x.odd)[i / 2]) & ~sign_bit<float>;
      if (u <= limit<Law> && u > largest) largest = u;
    }
  }
  const int carried = int((largest + 0x7fffff - Law::mantissa) >> 23);
  exponent = std::uint8_t(carried > Law::top ? carried : Law::top + 1);

  // Adds 2.0 to twice the value, not 1.0 to the value: the bits of 2.0, unlike those of 1.0, have zeros
  // in the eight places of the code, so that they need not be subtracted.
  const float units = float_of(Bits(255 + Law::top - exponent) << 23);
  // The code, with its sign, in bits 20 to 27.
  const auto encode = [=](float value, Bits draw) {
    const Bits pattern = bits_of(add_product(float_of(bits_of(value) & kept), units, 2.0f));
    const Bits sum = pattern + (rounding == Rounding::nearest ? 0x80000 : draw);
    if (!is_signed) return sum;
    const Bits code = sum & 0x7f << 20;
    return int(bits_of(value)) < 0 ? -code : code;
  };
  CodePair* const pair = reinterpret_cast<CodePair*>(codes);
#pragma omp simd
  for (int i = 0; i < pairs; ++i) {
    const Bits even = encode(x.even[i], even_draw<20>(x.words[i]));
    const Bits odd = encode(x.odd[i], odd_draw<20>(x.words[i]));
    // Joined in the upper half of a word: in the lower one, GCC would narrow each before joining them.
    const Bits both = (even >> 4 & 0x00ff0000) | (odd << 4 & 0xff000000);
    pair[i] = CodePair(both >> 16);
  }
  if (__builtin_expect(all_finite, 1)) return;
  for (int i = 0; i < tile; ++i) {
    const Bits u = bits_of((i % 2 == 0 ? x.even : x.odd)[i / 2]), magnitude = u & ~sign_bit<float>;
    if (magnitude > infinity)
      codes[i] = Code(Law::nan);
    else if (magnitude > limit<Law>)
      codes[i] = Code(is_signed && (u & sign_bit<float>) ? -Law::infinite : Law::infinite);
  }
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
