// Exponentially weighted moving averages along one axis of an array.
#pragma once

#include "../kernels/kernels.hpp"
#include "layout.hpp"

namespace fastoptim {

// The array as n_times steps of a set of series; rest.strides[0] is out's, [1] is x's.
struct EwmaArrays {
  const char* x;
  char* out;
  Index x_time_stride, out_time_stride, n_times;
  Layout rest;
};

void run_ewma(const EwmaArrays& arrays, Storage storage, double beta, bool bias_correction);

}  // namespace fastoptim
