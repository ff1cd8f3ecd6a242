// What all sweeps share: the steps on one element, and questions about operands.
#pragma once

#include "kernels.hpp"
#include "rules.hpp"
#include "subnormals.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// Stage before the rule: adjusted = g or -g (maximize), then + l2*p.
template <class T>
void adjust(T* adjusted, const T* g, const T* __restrict p, const Coefficients& c, Index n) {
  // Flips the sign bit: a multiplication by -1 would flush subnormals under flush-to-zero.
  const auto sign = c.maximize ? sign_bit<T> : 0;
  const auto signed_g = [=](Index i) { return __builtin_bit_cast(T, bits_of(g[i]) ^ sign); };
  const T l2 = T(c.l2);
  if (c.l2 != 0) {
#pragma omp simd
    for (Index i = 0; i < n; ++i) adjusted[i] = signed_g(i) + l2 * p[i];
  } else {
#pragma omp simd
    for (Index i = 0; i < n; ++i) adjusted[i] = signed_g(i);
  }
}

// Updates the states of one element. A rule may have fewer than three.
template <class Rule, class T>
inline void update_states(const Rule& rule, T g, [[maybe_unused]] T& s0, [[maybe_unused]] T& s1,
                          [[maybe_unused]] T& s2) {
  if constexpr (n_states<Rule> == 0) rule.update_states(g);
  if constexpr (n_states<Rule> == 1) rule.update_states(g, s0);
  if constexpr (n_states<Rule> == 2) rule.update_states(g, s0, s1);
  if constexpr (n_states<Rule> == 3) rule.update_states(g, s0, s1, s2);
}

// Updates the parameter of one element. Without decoupled weight decay, decay is 1, and multiplying
// by 1 changes no bit.
template <class Rule, class T>
inline void apply_update(const Rule& rule, T decay, T& p, T g, [[maybe_unused]] T s0,
                         [[maybe_unused]] T s1, [[maybe_unused]] T s2) {
  p = p * decay;
  if constexpr (n_states<Rule> == 0) rule.apply_update(p, g);
  if constexpr (n_states<Rule> == 1) rule.apply_update(p, g, s0);
  if constexpr (n_states<Rule> == 2) rule.apply_update(p, g, s0, s1);
  if constexpr (n_states<Rule> == 3) rule.apply_update(p, g, s0, s1, s2);
}

template <class Rule>
inline bool looks_for_subnormals(const Coefficients& c) {
  return avoids_subnormals && n_states<Rule> > 0 && c.subnormals;
}

// Whether holds(operand) is true of all operands from first to last.
template <class Holds>
bool all_of(const Tensor& tensor, int first, int last, const Holds& holds) {
  for (int k = first; k <= last; ++k)
    if (!holds(tensor.operands[k])) return false;
  return true;
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
