// Runs the loop of kernels/roofline.hpp over whole arrays, on as many threads as a step.
#pragma once

#include "../kernels/kernels.hpp"

namespace fastoptim {

// Makes `passes` passes over n elements of the parameter, the gradient and the states. Each thread
// has an equal contiguous share.
void run_roofline(Storage storage, char* const* arrays, int n_states, Index n, Index passes,
                  bool serial);

}  // namespace fastoptim
