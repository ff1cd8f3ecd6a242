// Operations on subnormal numbers that avoid the processor's microcode and give the same bits.
//
// Where gradients have become exactly 0 (a ReLU that is never active any more, an embedding that is
// never looked up), a moment decays step by step until it is subnormal, and there it stays: 0.9
// times 5 of the smallest numbers is rounded to 5 again. x86 processors multiply, divide and take
// roots of such numbers in microcode, for 150 cycles a vector and operation. In an epoch of
// bench/epoch.py, 7 % of the first moments end so, and a step took 8 times what it took at first.
//
// The functions below replace the operations that such a state meets in every step. A number on its
// way to becoming subnormal still passes through the microcode. A rule uses them where its template
// parameter `subnormal_safe` is true, and sweeps use that rule for tiles with subnormal states. They
// hold for rounding to nearest, without flush-to-zero.
#pragma once

#include "float_bits.hpp"
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

// Also true of 0.
template <class T>
inline bool is_subnormal(T x) {
  return (bits_of(x) & ~sign_bit<T>) < bits_of(FloatFormat<T>::smallest_normal);
}

// Whether any of n numbers is subnormal and not 0.
template <class T>
bool any_subnormal(const T* x, Index n) {
  using Bits = typename FloatFormat<T>::Bits;
  Bits least = ~Bits(0);
#pragma omp simd reduction(min : least)
  for (Index i = 0; i < n; ++i) {
    const Bits magnitude = 2 * bits_of(x[i]) - 1;  // the largest for 0
    least = magnitude < least ? magnitude : least;
  }
  return least < 2 * bits_of(FloatFormat<T>::smallest_normal) - 1;
}

// Returns beta*x, for beta in [0, 1].
template <bool subnormal_safe, class T>
inline T decayed(T beta, T x) {
  if constexpr (!subnormal_safe) return beta * x;
  // In units of the smallest subnormal number, a subnormal's bits are its value as an integer;
  // adding `whole` rounds the product to an integer. Both halves are computed, and the one that does
  // not apply is 0: with a selection at the end, GCC would multiply the subnormal too.
  using Bits = typename FloatFormat<T>::Bits;
  constexpr T whole = FloatFormat<T>::whole;
  const Bits sign = bits_of(x) & sign_bit<T>;
  const bool small = is_subnormal(x);
  const Bits count = small ? bits_of(x) ^ sign : 0;
  const T integer = __builtin_bit_cast(T, count | bits_of(whole)) - whole;
  const Bits subnormal = bits_of(fused_multiply_add(beta, integer, whole)) ^ bits_of(whole);
  const T normal = beta * (small ? T(0) : x);
  return __builtin_bit_cast(T, bits_of(normal) | subnormal | sign);
}

// Returns 0 if m is subnormal and |p| >= threshold, so that p - scale*m rounds to p; else m.
template <bool subnormal_safe, class T>
inline T zero_if_absorbed(T m, T p, T threshold) {
  if constexpr (!subnormal_safe) return m;
  // Bits as integers order as the numbers do, with NaN above all: a NaN threshold is never reached.
  const bool absorbs = (bits_of(p) & ~sign_bit<T>) >= bits_of(threshold);
  return is_subnormal(m) & absorbs ? T(0) : m;
}

// The threshold of zero_if_absorbed. Half of the distance from p to its neighbour is at least
// p / 2^(digits + 1), and a subnormal product that is then divided is rounded twice, each time to
// less than its double. NaN, which no p reaches, where a step can be of any size. The factors are
// multiplied in an order that meets no subnormal double. Rules that do not use it do not compute it,
// which saves 20 ns a tensor.
template <bool subnormal_safe, class T>
inline T absorb_threshold(double scale) {
  if constexpr (!subnormal_safe) return 0;
  constexpr double least = FloatFormat<T>::smallest_normal,
                   margin = 1ull << (FloatFormat<T>::digits + 3);
  const double step = scale * margin * least;
  const T threshold = T(step > least ? step : least);
  return threshold - threshold == 0 ? threshold : T(__builtin_nan(""));
}

// Returns 0 if v < threshold, so that sqrt(v) + eps rounds to eps; else v. v must be >= 0 or NaN.
template <bool subnormal_safe, class T>
inline T zero_if_root_absorbed(T v, T threshold) {
  if constexpr (!subnormal_safe) return v;
  return bits_of(v) < bits_of(threshold) ? T(0) : v;
}

// The threshold of zero_if_root_absorbed for sqrt(scale*v + inside)*factor + outside: either the
// smallest normal number, so that all subnormal v are absorbed, or 0.
template <bool subnormal_safe, class T>
inline T root_absorb_threshold(double scale, double inside, double factor, double outside) {
  if constexpr (!subnormal_safe) return 0;
  constexpr double smallest = FloatFormat<T>::smallest_normal,
                   margin = 1ull << (FloatFormat<T>::digits + 2);
  const double v = smallest * scale;
  const bool absorbed = v * margin < inside || __builtin_sqrt(v) * factor * margin < outside;
  return absorbed ? T(smallest) : T(0);
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
