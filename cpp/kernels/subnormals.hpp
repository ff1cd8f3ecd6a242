// Averages that have decayed to subnormal numbers, without the microcode.
//
// Where gradients have become exactly 0 (a ReLU that is never active any more, an embedding that is
// never looked up), a moment decays step by step until it is subnormal, and there it stays: 0.9
// times 5 of the smallest numbers is rounded to 5 again. x86 processors multiply, divide and take
// roots of such numbers in microcode, for 150 cycles a vector and operation. In an epoch of
// bench/epoch.py, 7 % of the first moments end so, and a step took 8 times what it took at first.
//
// What is here gives the same bits, and spares what such a state meets in every step; a number on
// its way to becoming subnormal still passes through the microcode. A rule has it where its
// parameter `subnormals` is true, and is swept so where a tile has subnormal states.
#pragma once

#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// Other processors need none of it; the oldest ones, without a fused multiply-add, lack what it is
// made of.
#ifdef __FMA__
constexpr bool avoids_subnormals = true;
#else
constexpr bool avoids_subnormals = false;
#endif

inline float fused_multiply_add(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
inline double fused_multiply_add(double x, double y, double z) { return __builtin_fma(x, y, z); }

// `whole` is the smallest number from which on all are integers; digits are those of the
// significand. In units of the smallest subnormal number, a subnormal's pattern is its value.
template <class T>
struct Format;
template <>
struct Format<float> {
  using Bits = std::uint32_t;
  static constexpr int digits = 24;
  static constexpr float smallest_normal = 0x1p-126f, whole = 0x1p23f;
};
template <>
struct Format<double> {
  using Bits = std::uint64_t;
  static constexpr int digits = 53;
  static constexpr double smallest_normal = 0x1p-1022, whole = 0x1p52;
};

template <class T>
inline auto pattern(T x) { return __builtin_bit_cast(typename Format<T>::Bits, x); }

template <class T>
constexpr auto sign_mask = typename Format<T>::Bits(1) << (8 * sizeof(T) - 1);

// Also true of 0.
template <class T>
inline bool is_subnormal(T x) {
  return (pattern(x) & ~sign_mask<T>) < pattern(Format<T>::smallest_normal);
}

// Whether any of n numbers is, and is not 0.
template <class T>
bool any_subnormal(const T* x, Index n) {
  using Bits = typename Format<T>::Bits;
  Bits least = ~Bits(0);
#pragma omp simd reduction(min : least)
  for (Index i = 0; i < n; ++i) {
    const Bits magnitude = 2 * pattern(x[i]) - 1;  // the largest for 0
    least = magnitude < least ? magnitude : least;
  }
  return least < 2 * pattern(Format<T>::smallest_normal) - 1;
}

// beta*x, for beta in [0, 1].
template <bool subnormals, class T>
inline T decayed(T beta, T x) {
  if constexpr (!subnormals) return beta * x;
  // A subnormal as the integer that its pattern is; adding `whole` rounds the product to one.
  // Either half is 0 where it is not the one: selected at the end, GCC would compute both.
  using Bits = typename Format<T>::Bits;
  constexpr T whole = Format<T>::whole;
  const Bits sign = pattern(x) & sign_mask<T>;
  const bool small = is_subnormal(x);
  const Bits count = small ? pattern(x) ^ sign : 0;
  const T integer = __builtin_bit_cast(T, count | pattern(whole)) - whole;
  const Bits subnormal = pattern(fused_multiply_add(beta, integer, whole)) ^ pattern(whole);
  const T normal = beta * (small ? T(0) : x);
  return __builtin_bit_cast(T, pattern(normal) | subnormal | sign);
}

// What of m takes part in p - scale*m: 0 where it is subnormal and p too large to feel it.
template <bool subnormals, class T>
inline T felt(T m, T p, T large) {
  if constexpr (!subnormals) return m;
  // As integers, which order as the numbers do, and NaN above them: it stays NaN.
  const bool is_large = (pattern(p) & ~sign_mask<T>) >= pattern(large);
  return is_subnormal(m) & is_large ? T(0) : m;
}

// That size of p: half of the distance to its neighbour is at least p / 2^(digits + 1), and a
// subnormal product that is divided is rounded twice, each time to less than double. NaN, which is
// above infinity, where a step can be of any size. In this order, double meets nothing subnormal.
template <class T>
inline T large_beside(double scale) {
  constexpr double least = Format<T>::smallest_normal, much = 1ull << (Format<T>::digits + 3);
  const double step = scale * much * least;
  const T large = T(step > least ? step : least);
  return large - large == 0 ? large : T(__builtin_nan(""));
}

// What of v takes part in sqrt(v) + eps: 0 where it is below `vanishing`.
template <bool subnormals, class T>
inline T felt_under_root(T v, T vanishing) {
  if constexpr (!subnormals) return v;
  return pattern(v) < pattern(vanishing) ? T(0) : v;
}

// That size, for sqrt(scale*v + inside)*factor + outside: that of all subnormal numbers, or 0.
template <class T>
inline T vanishing_beside(double scale, double inside, double factor, double outside) {
  constexpr double small = Format<T>::smallest_normal, much = 1ull << (Format<T>::digits + 2);
  const double v = small * scale;
  const bool vanishes = v * much < inside || __builtin_sqrt(v) * factor * much < outside;
  return vanishes ? T(small) : T(0);
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
