// The loop of kernels/roofline.hpp over whole arrays, by as many threads as a step has.
#pragma once

#include "../kernels/kernels.hpp"

namespace fastoptim {

// Makes so many passes over n elements of the parameter, the gradient and the states, each thread
// over an equal contiguous share.
void run_roofline(Storage storage, char* const* arrays, int n_states, Index n, Index passes,
                  bool serial);

}  // namespace fastoptim
