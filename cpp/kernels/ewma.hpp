// The exponentially weighted moving average of a block of series, side by side:
// v = beta*v + (1 - beta)*x, from v = 0; out = v/w with bias correction, where w is the sum of the
// weights by the same recursion, so that the average of a constant is that constant.
//
// All is in double, and each output is rounded once. In float the sum would stall where
// (1 - beta)*x is small beside it, and float(beta) + float(1 - beta) is not 1: of a constant 1 the
// average was 0.997 at beta = 0.99999.
#pragma once

#include "kernels.hpp"
#include "prefetch.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

constexpr Index series_tile = 256;  // averages kept in L1 while time goes on

template <class T>
T& at(char* data, Index offset) {
  return *reinterpret_cast<T*>(data + offset);
}
template <class T>
const T& at(const char* data, Index offset) {
  return *reinterpret_cast<const T*>(data + offset);
}

// One moment of n series; the strides are arguments so that the compiler sees the constant ones.
template <class T, bool corrects>
inline void average(const char* x, char* out, Index x_stride, Index out_stride,
                    double* __restrict v, double beta, double weight, double weights, Index n) {
#pragma omp simd
  for (Index k = 0; k < n; ++k) {
    v[k] = beta * v[k] + weight * double(at<T>(x, k * x_stride));
    at<T>(out, k * out_stride) = T(corrects ? v[k] / weights : v[k]);
  }
}

template <class T, bool corrects>
void average_all(const Series& s, double beta) {
  const double weight = 1 - beta;
  constexpr Index size = sizeof(T);
  alignas(64) double v[series_tile];
  for (Index first = 0; first < s.n_series; first += series_tile) {
    const Index n = s.n_series - first < series_tile ? s.n_series - first : series_tile;
    for (Index k = 0; k < n; ++k) v[k] = 0;
    double weights = 0;
    for (Index t = 0; t < s.n_times; ++t) {
      weights = beta * weights + weight;
      const char* x = s.x + first * s.x_series_stride + t * s.x_time_stride;
      char* out = s.out + first * s.out_series_stride + t * s.out_time_stride;
      if (s.x_series_stride == size && s.out_series_stride == size) {
        // The next moment's elements lie elsewhere, where no processor looks by itself.
        for (Index k = 0; prefetches && k < n * size; k += cache_line) {
          __builtin_prefetch(x + s.x_time_stride + k);
          __builtin_prefetch(out + s.out_time_stride + k, 1);
        }
        average<T, corrects>(x, out, size, size, v, beta, weight, weights, n);
      } else {
        average<T, corrects>(x, out, s.x_series_stride, s.out_series_stride, v, beta, weight,
                             weights, n);
      }
    }
  }
}

template <class T>
void ewma(const Series& s, double beta, bool bias_correction) noexcept {
  if (bias_correction)
    average_all<T, true>(s, beta);
  else
    average_all<T, false>(s, beta);
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
