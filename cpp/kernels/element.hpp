// What all loops over elements have in common: what is done to each, and for which operands.
#pragma once

#include "kernels.hpp"
#include "subnormals.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// What every rule does to the gradient before it: g = -g, then g = g + l2*p.
template <class T>
void adjust(T* adjusted, const T* g, const T* __restrict p, const Coefficients& c, Index n) {
  // The sign as a bit: a product would flush subnormal numbers to zero in the mode that does.
  const auto sign = c.maximize ? sign_mask<T> : 0;
  const auto signed_g = [=](Index i) { return __builtin_bit_cast(T, pattern(g[i]) ^ sign); };
  const T l2 = T(c.l2);
  if (c.l2 != 0) {
#pragma omp simd
    for (Index i = 0; i < n; ++i) adjusted[i] = signed_g(i) + l2 * p[i];
  } else {
#pragma omp simd
    for (Index i = 0; i < n; ++i) adjusted[i] = signed_g(i);
  }
}

// One element, whose rule may have fewer states.
template <class Rule, class T>
inline void average(const Rule& rule, T g, [[maybe_unused]] T& s0, [[maybe_unused]] T& s1,
                    [[maybe_unused]] T& s2) {
  if constexpr (Rule::n_states == 0) rule.average(g);
  if constexpr (Rule::n_states == 1) rule.average(g, s0);
  if constexpr (Rule::n_states == 2) rule.average(g, s0, s1);
  if constexpr (Rule::n_states == 3) rule.average(g, s0, s1, s2);
}

// decay is 1 without decoupled weight decay, which changes no bit.
template <class Rule, class T>
inline void descend(const Rule& rule, T decay, T& p, T g, [[maybe_unused]] T s0,
                    [[maybe_unused]] T s1, [[maybe_unused]] T s2) {
  p = p * decay;
  if constexpr (Rule::n_states == 0) rule.descend(p, g);
  if constexpr (Rule::n_states == 1) rule.descend(p, g, s0);
  if constexpr (Rule::n_states == 2) rule.descend(p, g, s0, s1);
  if constexpr (Rule::n_states == 3) rule.descend(p, g, s0, s1, s2);
}

template <class Rule>
inline bool looks_for_subnormals(const Coefficients& c) {
  return avoids_subnormals && Rule::n_states > 0 && c.subnormals;
}

// Whether what holds of an operand holds of those from first to last.
template <class Holds>
bool all_of(const Tensor& tensor, int first, int last, const Holds& holds) {
  for (int k = first; k <= last; ++k)
    if (!holds(tensor.operands[k])) return false;
  return true;
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
