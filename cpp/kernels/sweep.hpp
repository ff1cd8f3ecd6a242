// decode -> rule -> encode over elements [begin, end) of a tensor, a tile at a time.
#pragma once

#include "kernels.hpp"
#include "storage.hpp"
#include "subnormals.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// Asks for memory ahead of its use, for so few elements at a time that the requests, 16 of which
// can be under way, do not hold up the loop. Measured with AVX-512 on 2*10^7 elements, as times as
// fast as without: Adam 1.11, RMSProp 1.09, Momentum 1.13 (two threads), all 1.1 to 1.2 with one; with
// 128 elements at a time 1.05, 1.02, 1.11. From 1 to 4 KiB ahead made no difference. Without
// AVX-512 there are none: one loop over all is as fast, and on a Zen processor requests by hand
// made Adam 1.5 times slower.
#ifdef __AVX512F__
constexpr bool prefetches = true;
#else
constexpr bool prefetches = false;
#endif
constexpr int prefetch_elements = 64;
constexpr Index prefetch_bytes = 2048, cache_line = 64;

// Always inline: GCC 12 takes a function that only prefetches for one without effect, and drops it.
__attribute__((always_inline)) inline void prefetch(const Operand& operand, Index begin) {
  if (!prefetches || operand.strides) return;
  const Index size = item_sizes[int(operand.storage)];
  const char* const at = operand.data + begin * size + prefetch_bytes;
  for (Index k = 0; k < prefetch_elements * size; k += cache_line) __builtin_prefetch(at + k);
}

// What every rule does to the gradient before it: g = -g, then g = g + l2*p.
template <class T>
void adjust(T* adjusted, const T* g, const T* __restrict p, const Coefficients& c, Index n) {
  const T sign = c.maximize ? T(-1) : T(1), l2 = T(c.l2);
  if (c.l2 != 0) {
#pragma omp simd
    for (Index i = 0; i < n; ++i) adjusted[i] = sign * g[i] + l2 * p[i];
  } else {
#pragma omp simd
    for (Index i = 0; i < n; ++i) adjusted[i] = sign * g[i];
  }
}

// One element. decay is 1 without decoupled weight decay, which changes no bit.
template <class Rule, class T>
inline void update_one(const Rule& rule, T decay, T& p, T g, [[maybe_unused]] T& s0,
                       [[maybe_unused]] T& s1, [[maybe_unused]] T& s2) {
  p = p * decay;
  if constexpr (Rule::n_states == 0) rule(p, g);
  if constexpr (Rule::n_states == 1) rule(p, g, s0);
  if constexpr (Rule::n_states == 2) rule(p, g, s0, s1);
  if constexpr (Rule::n_states == 3) rule(p, g, s0, s1, s2);
}

// The loop, over n elements of the operands from x[k] + begin on.
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
    if constexpr (Rule::n_states > 0) a = s0[i];
    if constexpr (Rule::n_states > 1) b = s1[i];
    if constexpr (Rule::n_states > 2) c = s2[i];
    update_one(rule, decay, w, g[i], a, b, c);
    if constexpr (Rule::n_states > 0) s0[i] = a;
    if constexpr (Rule::n_states > 1) s1[i] = b;
    if constexpr (Rule::n_states > 2) s2[i] = c;
    p[i] = w;
  }
}

// Calls visit with the rule as it is, or as it is for subnormal states.
template <template <class, bool> class Rule, class T, class Visit>
inline void with_rule(const Rule<T, false>& rule, const Coefficients& c, bool subnormals,
                      const Visit& visit) {
  if constexpr (avoids_subnormals)
    if (subnormals) return visit(Rule<T, true>(c.rule));
  visit(rule);
}

template <class T>
inline bool any_subnormal_state(T* const* x, int n_states, Index begin, Index n) {
  bool any = false;
  for (int k = 2; k < 2 + n_states; ++k) any |= any_subnormal(x[k] + begin, n);
  return any;
}

// Where the loop over pairs finds an operand of a tile, and leaves it: float32 or bfloat16 where it
// lies, or anything else, decoded, in a buffer.
struct Floats {
  static constexpr bool staged = false, floats = true;
  float* __restrict x;
  Floats(const Operand& operand, Index begin, Buffer&, int first = 0)
      : x(reinterpret_cast<float*>(operand.data) + begin + 2 * first) {}

  bool any_subnormal() const { return fastoptim::FASTOPTIM_ISA::any_subnormal(x, tile); }
  float even(int i) const { return x[2 * i]; }
  float odd(int i) const { return x[2 * i + 1]; }
  template <int number>
  void put(int i, float even, float odd, Bits) const {
    x[2 * i] = even;
    x[2 * i + 1] = odd;
  }
};

struct Bfloat16s {
  static constexpr bool staged = false, floats = false;
  Word* __restrict x;
  Bfloat16s(const Operand& operand, Index begin, Buffer&, int first)
      : x(reinterpret_cast<Word*>(operand.data) + begin / 2 + first) {}

  float even(int i) const { return even_bfloat16(x[i]); }
  float odd(int i) const { return odd_bfloat16(x[i]); }
  template <int number>
  void put(int i, float even, float odd, Bits word) const {
    x[i] = encode_bfloat16<Rounding::stochastic>(even, odd, word_of<number>(word));
  }
};

struct Staged {
  static constexpr bool staged = true, floats = false;
  float *__restrict even_, *__restrict odd_;
  Bits* __restrict words_;
  Staged(const Operand&, Index, Buffer& buffer, int first = 0)
      : even_(buffer.even + first), odd_(buffer.odd + first), words_(buffer.words + first) {}

  bool any_subnormal() const {
    using fastoptim::FASTOPTIM_ISA::any_subnormal;
    return any_subnormal(even_, pairs) || any_subnormal(odd_, pairs);
  }
  float even(int i) const { return even_[i]; }
  float odd(int i) const { return odd_[i]; }
  template <int number>
  void put(int i, float even, float odd, Bits word) const {
    even_[i] = even;
    odd_[i] = odd;
    words_[i] = word_of<number>(word);
  }
};

// The loop over some pairs of a tile. The random bits are drawn in it, since the divider is what it
// waits for. Each operand that is written has a number: the states first, then the parameter.
template <class Rule, class P, class G, class S>
inline void update_pairs(const Rule rule, float decay, P p, G g, [[maybe_unused]] S s0,
                         [[maybe_unused]] S s1, [[maybe_unused]] S s2, Counter counter) {
#pragma omp simd
  for (int i = 0; i < prefetch_elements / 2; ++i) {
    const Bits word = counter.word(i);
    float p_even = p.even(i), p_odd = p.odd(i);
    float a_even = 0, a_odd = 0, b_even = 0, b_odd = 0, c_even = 0, c_odd = 0;
    if constexpr (Rule::n_states > 0) a_even = s0.even(i), a_odd = s0.odd(i);
    if constexpr (Rule::n_states > 1) b_even = s1.even(i), b_odd = s1.odd(i);
    if constexpr (Rule::n_states > 2) c_even = s2.even(i), c_odd = s2.odd(i);
    update_one(rule, decay, p_even, g.even(i), a_even, b_even, c_even);
    update_one(rule, decay, p_odd, g.odd(i), a_odd, b_odd, c_odd);
    if constexpr (Rule::n_states > 0) s0.template put<0>(i, a_even, a_odd, word);
    if constexpr (Rule::n_states > 1) s1.template put<1>(i, b_even, b_odd, word);
    if constexpr (Rule::n_states > 2) s2.template put<2>(i, c_even, c_odd, word);
    p.template put<Rule::n_states>(i, p_even, p_odd, word);
  }
}

inline void store(const Tensor& tensor, const Operand& operand, bool stochastic, Index begin,
                  Index n, const Buffer& x) {
  if (stochastic) store<Rounding::stochastic>(tensor, operand, begin, n, x);
  else store<Rounding::nearest>(tensor, operand, begin, n, x);
}

// Tiles that something is rounded in.
template <template <class, bool> class Rule, class P, class G, class S>
void sweep_pairs(const Tensor& tensor, const Coefficients& c, Index begin, Index end) {
  constexpr int n_states = Rule<float, false>::n_states;
  const Operand* const operands = tensor.operands;
  Buffer x[max_operands];
  const std::uint64_t key = mix64(mix64(mix64(c.seed) + c.step) + tensor.number);
  const Rule<float, false> rule(c.rule);
  for (Index i = begin; i < end; i += tile) {
    const Index n = end - i < tile ? end - i : tile;
    if constexpr (P::staged) load(tensor, operands[0], i, n, x[0]);
    if constexpr (G::staged) load(tensor, operands[1], i, n, x[1]);
    if constexpr (S::staged)
      for (int k = 2; k < 2 + n_states; ++k) load(tensor, operands[k], i, n, x[k]);
    if constexpr (P::staged && G::staged) {
      if (c.maximize || c.l2 != 0) {
        adjust(x[1].even, x[1].even, x[0].even, c, pairs);
        adjust(x[1].odd, x[1].odd, x[0].odd, c, pairs);
      }
    }
    const auto update = [&](const auto& r) {
      for (int first = 0; first < pairs; first += prefetch_elements / 2) {
        for (int k = 0; k < 2 + n_states; ++k) prefetch(operands[k], i + 2 * first);
        const auto state = [&](int k) {  // beyond the rule's own any that there is
          const int at = k < n_states ? 2 + k : 0;
          return S(operands[at], i, x[at], first);
        };
        update_pairs(r, float(c.decay), P(operands[0], i, x[0], first),
                     G(operands[1], i, x[1], first), state(0), state(1), state(2),
                     Counter(key, i / 2 + first));
      }
    };
    if constexpr (S::floats || P::staged) {
      bool subnormals = false;
      for (int k = 2; c.subnormals && k < 2 + n_states; ++k)
        if (operands[k].storage == Storage::float32)
          subnormals |= S(operands[k], i, x[k]).any_subnormal();
      with_rule(rule, c, subnormals, update);
    } else {
      update(rule);
    }
    if constexpr (P::staged) store(tensor, operands[0], c.stochastic, i, n, x[0]);
    if constexpr (S::staged)
      for (int k = 2; k < 2 + n_states; ++k)
        store(tensor, operands[k], c.stochastic, i, n, x[k]);
    if constexpr (P::staged)
      if (tensor.copy.data) store(tensor, tensor.copy, false, i, n, x[0]);
  }
}

// Tiles of what the rule computes in, gathered where it does not lie side by side.
template <template <class, bool> class Rule, class T>
void sweep_tiles(const Tensor& tensor, const Coefficients& c, Index begin, Index end) {
  const Rule<T, false> rule(c.rule);
  constexpr int n_operands = 2 + rule.n_states;
  alignas(64) T buffer[n_operands][tile];
  alignas(64) T adjusted[tile];
  T* x[max_operands] = {};
  for (Index i = begin; i < end; i += tile) {
    const Index n = end - i < tile ? end - i : tile;
    for (int k = 0; k < n_operands; ++k)
      x[k] = gather(tensor, tensor.operands[k], i, n, buffer[k]);
    if (c.maximize || c.l2 != 0) {
      adjust(adjusted, x[1], x[0], c, n);
      x[1] = adjusted;
    }
    with_rule(rule, c, c.subnormals && any_subnormal_state(x, rule.n_states, 0, n),
              [&](const auto& r) { update(r, T(c.decay), x, 0, n); });
    for (int k = 0; k < n_operands; ++k)
      if (k != 1) scatter(tensor, tensor.operands[k], i, n, x[k]);
  }
}

template <template <class, bool> class Rule, class T>
void sweep_in_place(const Tensor& tensor, const Coefficients& c, Index begin, Index end) {
  const Rule<T, false> rule(c.rule);
  T* x[max_operands] = {};
  for (int k = 0; k < 2 + rule.n_states; ++k)
    x[k] = reinterpret_cast<T*>(tensor.operands[k].data);
  const T decay = T(c.decay);
  const auto update_all = [&](const auto& r, Index i, Index stop) {
    for (; prefetches && i + prefetch_elements <= stop; i += prefetch_elements) {
      for (int k = 0; k < 2 + rule.n_states; ++k) prefetch(tensor.operands[k], i);
      update(r, decay, x, i, prefetch_elements);
    }
    update(r, decay, x, i, stop - i);
  };
  if (!c.subnormals) return update_all(rule, begin, end);
  for (Index i = begin; i < end; i += tile) {
    const Index n = end - i < tile ? end - i : tile;
    with_rule(rule, c, any_subnormal_state(x, rule.n_states, i, n),
              [&](const auto& r) { update_all(r, i, i + n); });
  }
}

// Whether what holds of an operand holds of those from first to last.
template <class Holds>
bool all_of(const Tensor& tensor, int first, int last, const Holds& holds) {
  for (int k = first; k <= last; ++k)
    if (!holds(tensor.operands[k])) return false;
  return true;
}

// Where some operand is of fewer bytes. The common combinations have loops of their own, for whole
// tiles; everything else, and the rest of the last tile, goes through buffers.
template <template <class, bool> class Rule>
void sweep_narrow(const Tensor& tensor, const Coefficients& c, Index begin, Index end) {
  constexpr int last = 1 + Rule<float, false>::n_states;
  const auto floats = [&](int from, int to) {
    return all_of(tensor, from, to, [](auto& x) { return lies_as(x, Storage::float32); });
  };
  const auto bfloat16s = [&](int from, int to) {
    return c.stochastic &&
           all_of(tensor, from, to, [](auto& x) { return lies_as(x, Storage::bfloat16); });
  };
  const bool buffered = c.maximize || c.l2 != 0 || tensor.copy.data;
  const Index whole = buffered ? begin : begin + (end - begin) / tile * tile;
  const auto run = [&](auto* f) {
    f(tensor, c, begin, whole);
    sweep_pairs<Rule, Staged, Staged, Staged>(tensor, c, whole, end);
  };
  if (floats(0, 1))
    return bfloat16s(2, last) ? run(sweep_pairs<Rule, Floats, Floats, Bfloat16s>)
                              : run(sweep_pairs<Rule, Floats, Floats, Staged>);
  if (floats(0, 0) && bfloat16s(1, 1) && floats(2, last))
    return run(sweep_pairs<Rule, Floats, Bfloat16s, Floats>);
  if (bfloat16s(0, 1))
    return bfloat16s(2, last) ? run(sweep_pairs<Rule, Bfloat16s, Bfloat16s, Bfloat16s>)
           : floats(2, last)  ? run(sweep_pairs<Rule, Bfloat16s, Bfloat16s, Floats>)
                              : run(sweep_pairs<Rule, Bfloat16s, Bfloat16s, Staged>);
  sweep_pairs<Rule, Staged, Staged, Staged>(tensor, c, begin, end);
}

template <template <class, bool> class Rule, class T>
void sweep(const Tensor& tensor, const Coefficients& c, Index begin, Index end) noexcept {
  constexpr int last = 1 + Rule<T, false>::n_states;
  if constexpr (sizeof(T) == sizeof(float)) {
    const auto computed_in = [](const Operand& x) { return !is_narrow(x.storage); };
    if (tensor.copy.data || !all_of(tensor, 0, last, computed_in))
      return sweep_narrow<Rule>(tensor, c, begin, end);
  }
  const bool adjusts = c.maximize || c.l2 != 0;
  if (!adjusts && all_of(tensor, 0, last, [](const Operand& x) { return !x.strides; }))
    sweep_in_place<Rule, T>(tensor, c, begin, end);
  else
    sweep_tiles<Rule, T>(tensor, c, begin, end);
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
