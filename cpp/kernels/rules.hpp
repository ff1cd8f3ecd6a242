// The update rules: what one step does to one element, and the facts of each rule.
//
// A rule is a functor. `facts` says its name, states and options: Python, the bindings and the tests
// read them from there. `factors` computes in double what a step multiplies by, from the options, t
// and lr; the constructor rounds each to the compute type, once. `update_states` and then
// `apply_update` do the step, in the order of operations that fastoptim.reference states.
//
// `subnormal_safe` selects operations that are fast where states are subnormal and give the same
// bits: subnormals.hpp.
#pragma once

#include "kernels.hpp"
#include "subnormals.hpp"

extern "C" double pow(double, double) noexcept;  // the one that Python's ** calls

namespace fastoptim::FASTOPTIM_ISA {
namespace {

inline float square_root(float x) { return __builtin_sqrtf(x); }
inline double square_root(double x) { return __builtin_sqrt(x); }

constexpr OptionKind fraction = OptionKind::fraction,
                     optional_fraction = OptionKind::optional_fraction,
                     nonnegative = OptionKind::nonnegative, flag = OptionKind::flag;

// The facts of a rule with one option more that selects it, and perhaps one state more.
constexpr RuleFacts variant(RuleFacts facts, const char* selected_by, StateFacts state = {}) {
  int k = 0;
  while (facts.selected_by[k]) ++k;
  facts.selected_by[k] = selected_by;
  for (k = 0; facts.states[k].name;) ++k;
  facts.states[k] = state;
  return facts;
}

// How many names a list of facts has.
template <class Fact>
constexpr int count(const Fact* facts) {
  int n = 0;
  while (facts[n].name) ++n;
  return n;
}
template <class Rule>
constexpr int n_states = count(Rule::facts.states);

// Gradient descent.
template <class T, bool subnormal_safe>
struct Sgd {
  static constexpr RuleFacts facts = {"sgd", {}, {}, {}};
  struct Options {};
  struct Factors {
    double rate;
  };

  static Factors factors(const Options&, double, double lr) { return {lr}; }

  T rate;

  explicit Sgd(const Factors& f) : rate(T(f.rate)) {}

  void update_states(T) const {}
  void apply_update(T& p, T g) const { p = p - rate * g; }
};

// Momentum: an average (or, with dampening, a sum) of the gradients (Polyak 1964).
template <class T, bool subnormal_safe>
struct Momentum {
  static constexpr RuleFacts facts = {"momentum",
                                      {},
                                      {{"v"}},
                                      {{"beta", fraction},
                                       {"dampening", optional_fraction},
                                       {"dampen_first", flag},
                                       {"bias_correction", flag}}};
  struct Options {
    double beta, dampening, dampen_first, bias_correction;
  };
  struct Factors {
    double beta, weight, rate;  // weight: of g
  };

  // The weights in v sum to 1 - beta^t; t is one more where the update looks ahead.
  static Factors factors(const Options& o, double t, double lr, double t_corrected) {
    const bool dampened = o.dampening == o.dampening;  // not NaN
    double weight = 1 - (dampened ? o.dampening : o.beta);
    if (dampened && !o.dampen_first && t == 1) weight = 1;
    return {o.beta, weight, o.bias_correction ? lr / (1 - pow(o.beta, t_corrected)) : lr};
  }
  static Factors factors(const Options& o, double t, double lr) { return factors(o, t, lr, t); }

  T beta, weight, rate, threshold;

  explicit Momentum(const Factors& f)
      : beta(T(f.beta)),
        weight(T(f.weight)),
        rate(T(f.rate)),
        threshold(absorb_threshold<subnormal_safe, T>(rate)) {}

  void update_states(T g, T& v) const { v = decayed<subnormal_safe>(beta, v) + weight * g; }
  void apply_update(T& p, T, T v) const {
    p = p - rate * zero_if_absorbed<subnormal_safe>(v, p, threshold);
  }
};

// Nesterov's variant: steps to where the velocity will lead (Sutskever et al. 2013).
template <class T, bool subnormal_safe>
struct Nesterov : Momentum<T, subnormal_safe> {
  using Base = Momentum<T, subnormal_safe>;
  using Base::Base;
  using typename Base::Factors;
  using typename Base::Options;
  static constexpr RuleFacts facts = variant(Base::facts, "nesterov");

  // The look-ahead holds one gradient more than v: its weights sum to
  // beta*(1 - beta^t) + 1 - beta = 1 - beta^(t + 1).
  static Factors factors(const Options& o, double t, double lr) {
    return Base::factors(o, t, lr, t + 1);
  }

  void apply_update(T& p, T g, T v) const {
    const T ahead = decayed<subnormal_safe>(this->beta, v) + this->weight * g;
    p = p - this->rate * zero_if_absorbed<subnormal_safe>(ahead, p, this->threshold);
  }
};

// RMSProp (Hinton 2012). Of the two epsilons and the two corrections one each is in use; the
// other is 0 or 1, which changes no bit. With momentum, rate is applied to the velocity.
template <class T, bool subnormal_safe>
struct RmsProp {
  static constexpr RuleFacts facts = {"rmsprop",
                                      {},
                                      {{"s", true}},
                                      {{"beta", fraction},
                                       {"eps", nonnegative},
                                       {"momentum", fraction},
                                       {"bias_correction", flag},
                                       {"eps_inside_sqrt", flag}}};
  struct Options {
    double beta, eps, momentum, bias_correction, eps_inside_sqrt;
  };
  struct Factors {
    double beta, weight, correction_inside, eps_inside, correction_outside, eps_outside, rate,
        momentum;
  };

  // The correction goes under the root where something is added there; else after it, as Adam's.
  static Factors factors(const Options& o, double t, double lr, bool centered) {
    const double total = o.bias_correction ? 1 - pow(o.beta, t) : 1;
    const bool inside = centered || o.eps_inside_sqrt;
    return {o.beta,
            1 - o.beta,
            inside ? 1 / total : 1,
            o.eps_inside_sqrt ? o.eps : 0,
            inside ? 1 : 1 / square_root(total),
            o.eps_inside_sqrt ? 0 : o.eps,
            lr,
            o.momentum};
  }
  static Factors factors(const Options& o, double t, double lr) { return factors(o, t, lr, false); }

  T beta, weight, correction_inside, eps_inside, correction_outside, eps_outside, rate, momentum;
  T threshold, root_threshold;

  explicit RmsProp(const Factors& f)
      : beta(T(f.beta)),
        weight(T(f.weight)),
        correction_inside(T(f.correction_inside)),
        eps_inside(T(f.eps_inside)),
        correction_outside(T(f.correction_outside)),
        eps_outside(T(f.eps_outside)),
        rate(T(f.rate)),
        momentum(T(f.momentum)),
        threshold(absorb_threshold<subnormal_safe, T>(rate)),
        root_threshold(root_absorb_threshold<subnormal_safe, T>(correction_inside, eps_inside,
                                                                correction_outside, eps_outside)) {}

  void update_states(T g, T& s) const { s = decayed<subnormal_safe>(beta, s) + weight * (g * g); }

  T corrected(T s) const {
    return zero_if_root_absorbed<subnormal_safe>(s, root_threshold) * correction_inside;
  }

  T root(T q) const { return square_root(q + eps_inside) * correction_outside + eps_outside; }

  void update_velocity(T g, T root, T& velocity) const {
    velocity = decayed<subnormal_safe>(momentum, velocity) + g / root;
  }
  void apply_velocity(T& p, T velocity) const {
    p = p - rate * zero_if_absorbed<subnormal_safe>(velocity, p, threshold);
  }

  void apply_update(T& p, T g, T s) const { p = p - (rate * g) / root(corrected(s)); }
};

template <class T, bool subnormal_safe>
struct RmsPropMomentum : RmsProp<T, subnormal_safe> {
  using Base = RmsProp<T, subnormal_safe>;
  using Base::Base;
  static constexpr RuleFacts facts = variant(Base::facts, "momentum", {"velocity"});

  void update_states(T g, T& s, T& velocity) const {
    Base::update_states(g, s);
    this->update_velocity(g, this->root(this->corrected(s)), velocity);
  }
  void apply_update(T& p, T, T, T velocity) const { this->apply_velocity(p, velocity); }
};

template <class T, bool subnormal_safe>
struct RmsPropCentered : RmsProp<T, subnormal_safe> {
  using Base = RmsProp<T, subnormal_safe>;
  using Base::Base;
  using typename Base::Factors;
  using typename Base::Options;
  static constexpr RuleFacts facts = variant(Base::facts, "centered", {"mean"});

  static Factors factors(const Options& o, double t, double lr) {
    return Base::factors(o, t, lr, true);
  }

  // The average of g is taken off: what is left estimates the variance. Rounding can bring it
  // below zero where the gradient hardly varies; a root of that would be NaN, so 0 is used.
  T variance(T s, T mean) const {
    // `corrected` expects a number that is not negative, and the mean is squared anyway.
    const T center = this->corrected(subnormal_safe && mean < 0 ? -mean : mean);
    const T q = this->corrected(s) - center * center;
    return q < 0 ? T(0) : q;
  }

  void update_states(T g, T& s, T& mean) const {
    Base::update_states(g, s);
    mean = decayed<subnormal_safe>(this->beta, mean) + this->weight * g;
  }
  void apply_update(T& p, T g, T s, T mean) const {
    p = p - (this->rate * g) / this->root(variance(s, mean));
  }
};

template <class T, bool subnormal_safe>
struct RmsPropCenteredMomentum : RmsPropCentered<T, subnormal_safe> {
  using Base = RmsPropCentered<T, subnormal_safe>;
  using Base::Base;
  static constexpr RuleFacts facts = variant(Base::facts, "momentum", {"velocity"});

  void update_states(T g, T& s, T& mean, T& velocity) const {
    Base::update_states(g, s, mean);
    this->update_velocity(g, this->root(this->variance(s, mean)), velocity);
  }
  void apply_update(T& p, T, T, T, T velocity) const { this->apply_velocity(p, velocity); }
};

// Adam (Kingma & Ba 2015). The bias corrections lie in rate and correction.
template <class T, bool subnormal_safe>
struct Adam {
  static constexpr RuleFacts facts = {
      "adam",
      {},
      {{"m"}, {"v", true}},
      {{"beta1", fraction}, {"beta2", fraction}, {"eps", nonnegative}}};
  struct Options {
    double beta1, beta2, eps;
  };
  struct Factors {
    double beta1, weight1, beta2, weight2, rate, correction, eps;
  };

  static Factors factors(const Options& o, double t, double lr) {
    return {o.beta1,
            1 - o.beta1,
            o.beta2,
            1 - o.beta2,
            lr / (1 - pow(o.beta1, t)),
            1 / square_root(1 - pow(o.beta2, t)),
            o.eps};
  }

  T beta1, weight1, beta2, weight2, rate, correction, eps, threshold, root_threshold;

  explicit Adam(const Factors& f)
      : beta1(T(f.beta1)),
        weight1(T(f.weight1)),
        beta2(T(f.beta2)),
        weight2(T(f.weight2)),
        rate(T(f.rate)),
        correction(T(f.correction)),
        eps(T(f.eps)),
        threshold(absorb_threshold<subnormal_safe, T>(double(rate) / double(eps))),
        root_threshold(root_absorb_threshold<subnormal_safe, T>(1, 0, correction, eps)) {}

  void update_states(T g, T& m, T& v) const {
    m = decayed<subnormal_safe>(beta1, m) + weight1 * g;
    v = decayed<subnormal_safe>(beta2, v) + weight2 * (g * g);
  }

  void apply_update(T& p, T, T m, T v) const {
    const T root = square_root(zero_if_root_absorbed<subnormal_safe>(v, root_threshold));
    p = p - (rate * zero_if_absorbed<subnormal_safe>(m, p, threshold)) / (root * correction + eps);
  }
};

// AMSGrad: Adam whose second moment never falls (Reddi, Kale & Kumar 2018).
template <class T, bool subnormal_safe>
struct AdamAmsgrad : Adam<T, subnormal_safe> {
  using Base = Adam<T, subnormal_safe>;
  using Base::Base;
  static constexpr RuleFacts facts = variant(Base::facts, "amsgrad", {"v_max", true});

  void update_states(T g, T& m, T& v, T& v_max) const {
    Base::update_states(g, m, v);
    v_max = (v_max > v || v_max != v_max) ? v_max : v;  // NaN stays, as in np.maximum
  }
  void apply_update(T& p, T g, T m, T, T v_max) const { Base::apply_update(p, g, m, v_max); }
};

// A rule with the factors of this step.
template <class Rule>
inline Rule make_rule(const Coefficients& c) {
  typename Rule::Factors factors;
  __builtin_memcpy(&factors, c.rule, sizeof(factors));
  return Rule(factors);
}

// The one list: a rule that stands here has its kernels in every table.
// clang-format off
#define FASTOPTIM_RULES(RULE)                                                 \
  RULE(Sgd) RULE(Momentum) RULE(Nesterov) RULE(RmsProp) RULE(RmsPropMomentum) \
  RULE(RmsPropCentered) RULE(RmsPropCenteredMomentum) RULE(Adam) RULE(AdamAmsgrad)
// clang-format on

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
