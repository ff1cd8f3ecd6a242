// The roofline: a plain loop with the loads and stores of a step and next to no arithmetic. It reads
// the parameter, the gradient and the states, and writes the parameter and the states, so memory
// lets no step with as many states be faster than this loop.
#pragma once

#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// One multiply-add for each array that is written: the least that uses every load. x = x/2 + g
// converges to 2*g, so that no number of passes leads to subnormals or infinities.
template <class T, int n_states>
void roofline(char* const* arrays, Index begin, Index end) noexcept {
  constexpr T half = T(0.5);
  T* __restrict p = reinterpret_cast<T*>(arrays[0]);
  const T* __restrict g = reinterpret_cast<const T*>(arrays[1]);
  T* __restrict s0 = n_states > 0 ? reinterpret_cast<T*>(arrays[2]) : nullptr;
  T* __restrict s1 = n_states > 1 ? reinterpret_cast<T*>(arrays[3]) : nullptr;
  T* __restrict s2 = n_states > 2 ? reinterpret_cast<T*>(arrays[4]) : nullptr;
#pragma omp simd
  for (Index i = begin; i < end; ++i) {
    const T x = g[i];
    if constexpr (n_states > 0) s0[i] = half * s0[i] + x;
    if constexpr (n_states > 1) s1[i] = half * s1[i] + x;
    if constexpr (n_states > 2) s2[i] = half * s2[i] + x;
    p[i] = half * p[i] + x;
  }
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
