// A step over elements [begin, end) of a tensor whose operands are stored in the rule's compute type.
// narrow.hpp sweeps the others, which are decoded and encoded.
#pragma once

#include "element.hpp"
#include "kernels.hpp"
#include "narrow.hpp"
#include "prefetch.hpp"
#include "storage.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// The rule's loop over n elements of the operands, from x[k] + begin on.
template <class Rule, class T>
inline void update(const Rule& rule, T decay, T* const* x, Index begin, Index n) {
  T* __restrict const p = x[0] + begin;
  const T* __restrict const g = x[1] + begin;
  T* __restrict const s0 = x[2] + begin;
  T* __restrict const s1 = x[3] + begin;
  T* __restrict const s2 = x[4] + begin;
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    T w = p[i], a = 0, b = 0, c = 0;
    if constexpr (n_states<Rule> > 0) a = s0[i];
    if constexpr (n_states<Rule> > 1) b = s1[i];
    if constexpr (n_states<Rule> > 2) c = s2[i];
    update_states(rule, g[i], a, b, c);
    apply_update(rule, decay, w, g[i], a, b, c);
    if constexpr (n_states<Rule> > 0) s0[i] = a;
    if constexpr (n_states<Rule> > 1) s1[i] = b;
    if constexpr (n_states<Rule> > 2) s2[i] = c;
    p[i] = w;
  }
}

template <class T>
inline bool any_subnormal_state(T* const* x, int states, Index begin, Index n) {
  for (int k = 2; k < 2 + states; ++k)
    if (any_subnormal(x[k] + begin, n)) return true;
  return false;
}

// A tile at a time: strided operands are copied to a buffer and back, and gradients are adjusted.
template <template <class, bool> class Rule, class T>
void sweep_tiles(const Tensor& tensor, const Coefficients& c, Index begin, Index end) {
  const auto rule = make_rule<Rule<T, false>>(c);
  const auto subnormal_safe = make_rule<Rule<T, true>>(c);
  const bool looks = looks_for_subnormals<Rule<T, false>>(c);
  constexpr int states = n_states<Rule<T, false>>, n_operands = 2 + states;
  alignas(cache_line) T buffer[n_operands][tile];
  alignas(cache_line) T adjusted[tile];
  T* x[max_operands] = {};
  for (Index i = begin; i < end; i += tile) {
    const Index n = end - i < tile ? end - i : tile;
    for (int k = 0; k < n_operands; ++k)
      x[k] = load_strided(tensor, tensor.operands[k], i, n, buffer[k]);
    if (c.maximize || c.l2 != 0) {
      adjust(adjusted, x[1], x[0], c, n);
      x[1] = adjusted;
    }
    if (looks && any_subnormal_state(x, states, 0, n))
      update(subnormal_safe, T(c.decay), x, 0, n);
    else
      update(rule, T(c.decay), x, 0, n);
    for (int k = 0; k < n_operands; ++k)
      if (k != 1) store_strided(tensor, tensor.operands[k], i, n, x[k]);
  }
}

template <template <class, bool> class Rule, class T>
void sweep_in_place(const Tensor& tensor, const Coefficients& c, Index begin, Index end) {
  const auto rule = make_rule<Rule<T, false>>(c);
  constexpr int states = n_states<Rule<T, false>>;
  T* x[max_operands] = {};
  for (int k = 0; k < 2 + states; ++k) x[k] = reinterpret_cast<T*>(tensor.operands[k].data);
  const T decay = T(c.decay);
  const auto update_all = [&](const auto& r, Index i, Index stop) {
    for (; prefetches && i + prefetch_elements <= stop; i += prefetch_elements) {
      constexpr int bytes = prefetch_elements * int(sizeof(T));
      for (int k = 0; k < 2 + states; ++k) prefetch_lines(x[k] + i, bytes, c.cached && k != 1);
      update(r, decay, x, i, prefetch_elements);
    }
    update(r, decay, x, i, stop - i);
  };
  if (!looks_for_subnormals<Rule<T, false>>(c)) return update_all(rule, begin, end);
  // Subnormals come in clusters, and looking for them costs as much as it saves: once a tile has
  // some, the next tiles are taken to have some too. A step where 7 % of the first moments are
  // subnormal takes 1.6 times as long as without any, and 2.3 times if every tile is searched.
  const auto subnormal_safe = make_rule<Rule<T, true>>(c);
  for (Index i = begin; i < end;) {
    const bool found = any_subnormal_state(x, states, i, end - i < tile ? end - i : tile);
    const Index stop = end - i < tile * (found ? 8 : 1) ? end : i + tile * (found ? 8 : 1);
    if (found)
      update_all(subnormal_safe, i, stop);
    else
      update_all(rule, i, stop);
    i = stop;
  }
}

template <template <class, bool> class Rule, class T>
void sweep(const Tensor& tensor, const Coefficients& c, Index begin, Index end) noexcept {
  constexpr int last = 1 + n_states<Rule<T, false>>;
  if constexpr (sizeof(T) == sizeof(float)) {
    const auto computed_in = [](const Operand& x) { return !is_narrow(x.storage); };
    if (tensor.rounded_param.data || !all_of(tensor, 0, last, computed_in))
      return sweep_narrow<Rule>(tensor, c, begin, end);
  }
  const bool adjusts = c.maximize || c.l2 != 0;
  if (!adjusts && all_of(tensor, 0, last, [](const Operand& x) { return !x.strides; }))
    sweep_in_place<Rule, T>(tensor, c, begin, end);
  else
    sweep_tiles<Rule, T>(tensor, c, begin, end);
}

// Copies operands[1] into operands[0] without arithmetic, so that -0.0 and the bits of a NaN stay:
// decoded to float32, and rounded to nearest where operands[0] is of fewer bytes.
void copy(const Tensor& tensor, const Coefficients&, Index begin, Index end) noexcept {
  Buffer x;
  for (Index i = begin; i < end; i += tile) {
    const Index n = end - i < tile ? end - i : tile;
    load(tensor, tensor.operands[1], i, n, x);
    store<Rounding::nearest>(tensor, tensor.operands[0], i, n, x);
  }
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
