// A step over tensors with operands in fewer bytes than float32: tile by tile, two elements at a time.
#pragma once

#include "element.hpp"
#include "kernels.hpp"
#include "prefetch.hpp"
#include "storage.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// Views of one operand of a tile, with the same interface: float32 and bfloat16 operands are used
// where they lie; all others are decoded to a buffer and encoded from it (Staged).
struct Floats {
  static constexpr bool floats = true, bfloat16s = false, staged = false;
  float* __restrict x;
  Floats(const Operand& operand, Index begin, Buffer&)
      : x(reinterpret_cast<float*>(operand.data) + begin) {}

  bool has_subnormal() const { return any_subnormal(x, tile); }
  void prefetch(bool to_write) const { prefetch_lines(x, tile * int(sizeof(float)), to_write); }
  float even(int i) const { return x[2 * i]; }
  float odd(int i) const { return x[2 * i + 1]; }
  void store(int i, float even, float odd, Bits) const {
    x[2 * i] = even;
    x[2 * i + 1] = odd;
  }
};

struct Bfloat16s {
  static constexpr bool floats = false, bfloat16s = true, staged = false;
  Word* __restrict x;
  Bfloat16s(const Operand& operand, Index begin, Buffer&)
      : x(reinterpret_cast<Word*>(operand.data) + begin / 2) {}

  void prefetch(bool to_write) const { prefetch_lines(x, pairs * int(sizeof(Word)), to_write); }
  float even(int i) const { return even_bfloat16(x[i]); }
  float odd(int i) const { return odd_bfloat16(x[i]); }
  void store(int i, float even, float odd, Bits word) const {
    x[i] = encode_bfloat16<Rounding::stochastic>(even, odd, word);
  }
};

struct Staged {
  static constexpr bool floats = false, bfloat16s = false, staged = true;
  float* __restrict evens, * __restrict odds;
  Bits* __restrict words;
  Staged(const Operand&, Index, Buffer& x) : evens(x.even), odds(x.odd), words(x.words) {}

  void prefetch(bool) const {}
  bool has_subnormal() const { return any_subnormal(evens, pairs) || any_subnormal(odds, pairs); }
  float even(int i) const { return evens[i]; }
  float odd(int i) const { return odds[i]; }
  void store(int i, float even, float odd, Bits word) const {
    evens[i] = even;
    odds[i] = odd;
    words[i] = word;
  }
};

// A tile's operands and random bits.
template <int states, class P, class G, class S>
struct Tile {
  P p;
  G g;
  S s0, s1, s2;  // unused beyond `states`
  Counter counter;

  Tile(const Operand* operands, Index i, Buffer* x, std::uint64_t key)
      : p(operands[0], i, x[0]),
        g(operands[1], i, x[1]),
        s0(state(operands, 0, i, x)),
        s1(state(operands, 1, i, x)),
        s2(state(operands, 2, i, x)),
        counter(key, i / 2) {}

  static S state(const Operand* operands, int k, Index i, Buffer* x) {
    const int at = k < states ? 2 + k : 0;
    return S(operands[at], i, x[at]);
  }

  void prefetch(bool to_write) const {
    p.prefetch(to_write);
    g.prefetch(false);
    if (states > 0) s0.prefetch(to_write);
    if (states > 1) s1.prefetch(to_write);
    if (states > 2) s2.prefetch(to_write);
  }

  bool any_subnormal_state() const {
    return (states > 0 && s0.has_subnormal()) || (states > 1 && s1.has_subnormal()) ||
           (states > 2 && s2.has_subnormal());
  }
};

// The rule's loop over a tile. It draws the random bits too, in the time that it waits for the
// divider. Operands that are written are numbered for that: the states first, then the parameter.
//
// A NaN that is stored as bfloat16 must have zeros in the lower half of its bits. Arithmetic
// propagates the NaN of an operand, so a NaN that comes from float32 is replaced by quiet_nan.
// Returns a value other than 0 if some parameter is NaN (it is where a state is); it may do so where
// the sum of a pair is infinite.
template <class Rule, class P, class G, class S>
inline Bits update_pairs(const Rule rule, float decay, Tile<n_states<Rule>, P, G, S> x) {
  constexpr int states = n_states<Rule>;
  constexpr bool cleans_g = G::floats && S::bfloat16s, cleans_p = P::bfloat16s && !S::bfloat16s;
  Bits not_finite = 0;
#pragma omp simd reduction(| : not_finite)
  for (int i = 0; i < pairs; ++i) {
    const Bits word = x.counter.word(i);
    float g_even = x.g.even(i), g_odd = x.g.odd(i);
    if constexpr (cleans_g) g_even = one_nan(g_even), g_odd = one_nan(g_odd);
    float a_even = 0, a_odd = 0, b_even = 0, b_odd = 0, c_even = 0, c_odd = 0;
    if constexpr (states > 0) a_even = x.s0.even(i), a_odd = x.s0.odd(i);
    if constexpr (states > 1) b_even = x.s1.even(i), b_odd = x.s1.odd(i);
    if constexpr (states > 2) c_even = x.s2.even(i), c_odd = x.s2.odd(i);
    update_states(rule, g_even, a_even, b_even, c_even);
    update_states(rule, g_odd, a_odd, b_odd, c_odd);
    if constexpr (states > 0) x.s0.store(i, a_even, a_odd, word_of<0>(word));
    if constexpr (states > 1) x.s1.store(i, b_even, b_odd, word_of<1>(word));
    if constexpr (states > 2) x.s2.store(i, c_even, c_odd, word_of<2>(word));
    float p_even = x.p.even(i), p_odd = x.p.odd(i);
    apply_update(rule, decay, p_even, g_even, a_even, b_even, c_even);
    apply_update(rule, decay, p_odd, g_odd, a_odd, b_odd, c_odd);
    if constexpr (S::bfloat16s) {
      const float sum = p_even + p_odd;
      not_finite |= bits_of(sum - sum);
    }
    if constexpr (cleans_p) p_even = one_nan(p_even), p_odd = one_nan(p_odd);
    x.p.store(i, p_even, p_odd, word_of<states>(word));
  }
  return not_finite;
}

template <template <class, bool> class Rule, class P, class G, class S>
void sweep_pairs(const Tensor& tensor, const Coefficients& c, Index begin, Index end) {
  const auto rule = make_rule<Rule<float, false>>(c);
  [[maybe_unused]] const auto subnormal_safe = make_rule<Rule<float, true>>(c);
  constexpr int states = n_states<Rule<float, false>>;
  const float decay = float(c.decay);
  const Operand* const operands = tensor.operands;
  const std::uint64_t key = mix64(mix64(mix64(c.seed) + c.step) + tensor.index);
  [[maybe_unused]] const bool looks = looks_for_subnormals<Rule<float, false>>(c) &&
                                      (!c.stochastic || operands[2].storage == Storage::float32);
  Buffer x[max_operands];
  for (Index i = begin; i < end; i += tile) {
    const Index n = end - i < tile ? end - i : tile;
    const auto store_staged = [&](const Operand& operand, bool stochastic, const Buffer& from) {
      if (stochastic)
        store<Rounding::stochastic>(tensor, operand, i, n, from);
      else
        store<Rounding::nearest>(tensor, operand, i, n, from);
    };
    if constexpr (P::staged) load(tensor, operands[0], i, n, x[0]);
    if constexpr (G::staged) load(tensor, operands[1], i, n, x[1]);
    if constexpr (S::staged)
      for (int k = 0; k < states; ++k) load(tensor, operands[2 + k], i, n, x[2 + k]);
    if constexpr (P::staged && G::staged) {
      if (c.maximize || c.l2 != 0) {
        adjust(x[1].even, x[1].even, x[0].even, c, pairs);
        adjust(x[1].odd, x[1].odd, x[0].odd, c, pairs);
      }
    }

    const Tile<states, P, G, S> all(operands, i, x, key);
    all.prefetch(c.cached);
    Bits not_finite = 0;
    // Stochastically rounded states do not get stuck at subnormals, so only the exact path checks.
    if constexpr (S::bfloat16s)
      not_finite = update_pairs(rule, decay, all);
    else if (looks && all.any_subnormal_state())
      update_pairs(subnormal_safe, decay, all);
    else
      update_pairs(rule, decay, all);
    if constexpr (S::bfloat16s) {
      if (__builtin_expect(not_finite != 0, 0))
        for (int k = 0; k < 2 + states; ++k)
          if (k != 1 && operands[k].storage == Storage::bfloat16)
            unify_nans(reinterpret_cast<std::uint16_t*>(operands[k].data) + i);
    }
    if constexpr (P::staged) {
      store_staged(operands[0], c.stochastic, x[0]);
      if (tensor.rounded_param.data) store_staged(tensor.rounded_param, false, x[0]);
    }
    if constexpr (S::staged)
      for (int k = 0; k < states; ++k) store_staged(operands[2 + k], c.stochastic, x[2 + k]);
  }
}

// The common combinations of types have loops of their own, for whole tiles. Everything else, and the
// rest of the last tile, goes through buffers.
template <template <class, bool> class Rule>
void sweep_narrow(const Tensor& tensor, const Coefficients& c, Index begin, Index end) {
  constexpr int last = 1 + n_states<Rule<float, false>>;
  const auto floats = [&](int from, int to) {
    return all_of(tensor, from, to, [](auto& x) { return is_contiguous_as(x, Storage::float32); });
  };
  const auto bfloat16s = [&](int from, int to) {
    return c.stochastic &&
           all_of(tensor, from, to, [](auto& x) { return is_contiguous_as(x, Storage::bfloat16); });
  };
  const bool buffered = c.maximize || c.l2 != 0 || tensor.rounded_param.data;
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

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
