// Exponentially weighted moving averages along one axis of an array.
#pragma once

#include "../kernels/kernels.hpp"
#include "layout.hpp"

namespace fastoptim {

// An array as a set of series of n_times elements each. `rest` lays out the other axes: its
// strides[0] are those of out, [1] those of x.
struct EwmaArrays {
  const char* x;
  char* out;
  Index x_time_stride, out_time_stride, n_times;
  Layout rest;
};

// Writes each series' moving average to out, which may be x itself.
void run_ewma(const EwmaArrays& arrays, Storage storage, double beta, bool bias_correction);

}  // namespace fastoptim
