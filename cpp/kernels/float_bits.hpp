// The bit patterns of floating-point numbers.
#pragma once

#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// `whole` is the smallest number from which on all are integers; digits are those of the
// significand.
template <class T>
struct FloatFormat;
template <>
struct FloatFormat<float> {
  using Bits = std::uint32_t;
  static constexpr int digits = 24;
  static constexpr float smallest_normal = 0x1p-126f, whole = 0x1p23f;
};
template <>
struct FloatFormat<double> {
  using Bits = std::uint64_t;
  static constexpr int digits = 53;
  static constexpr double smallest_normal = 0x1p-1022, whole = 0x1p52;
};

template <class T>
constexpr auto bits_of(T x) {
  return __builtin_bit_cast(typename FloatFormat<T>::Bits, x);
}

template <class T>
constexpr auto sign_bit = typename FloatFormat<T>::Bits(1) << (8 * sizeof(T) - 1);

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
