// The exponentially weighted moving average of a block of series, side by side:
// v = beta*v + (1 - beta)*x, from v = 0; out = v/(1 - beta**t) with bias correction.
#pragma once

#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

constexpr Index series_tile = 256;  // averages kept in L1 while time goes on

template <class T>
T& at(char* data, Index offset) { return *reinterpret_cast<T*>(data + offset); }
template <class T>
const T& at(const char* data, Index offset) { return *reinterpret_cast<const T*>(data + offset); }

// One moment of n series; the strides are arguments so that the compiler sees the constant ones.
template <class T>
inline void average(const char* x, char* out, Index x_stride, Index out_stride, T* __restrict v,
                    T beta, T weight, T correction, Index n) {
#pragma omp simd
  for (Index k = 0; k < n; ++k) {
    v[k] = beta * v[k] + weight * at<T>(x, k * x_stride);
    at<T>(out, k * out_stride) = v[k] / correction;
  }
}

template <class T>
void ewma(const Series& s, double beta, bool bias_correction) noexcept {
  const T b = T(beta), weight = T(1 - beta);
  constexpr Index size = sizeof(T);
  alignas(64) T v[series_tile];
  for (Index first = 0; first < s.n_series; first += series_tile) {
    const Index n = s.n_series - first < series_tile ? s.n_series - first : series_tile;
    for (Index k = 0; k < n; ++k) v[k] = 0;
    double power = 1;  // beta**t as a product, the same on every platform; pow() is not
    for (Index t = 0; t < s.n_times; ++t) {
      power *= beta;
      const T correction = bias_correction ? T(1 - power) : T(1);
      const char* x = s.x + first * s.x_series_stride + t * s.x_time_stride;
      char* out = s.out + first * s.out_series_stride + t * s.out_time_stride;
      if (s.x_series_stride == size && s.out_series_stride == size)
        average<T>(x, out, size, size, v, b, weight, correction, n);
      else
        average<T>(x, out, s.x_series_stride, s.out_series_stride, v, b, weight, correction, n);
    }
  }
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
