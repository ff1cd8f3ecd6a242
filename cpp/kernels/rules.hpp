// The update rules: what one step does to one element, in the order of operations that
// fastoptim.reference states: `average` the gradient into the states, then `descend`.
//
// `coefficients` computes in double what a step multiplies by, from the options that rules.py
// lists, t and lr. The constructor rounds each to the compute type, once. `subnormals` says
// whether subnormal states are to be expected, and changes no bit: subnormals.hpp.
#pragma once

#include "kernels.hpp"
#include "subnormals.hpp"

extern "C" double pow(double, double) noexcept;  // the one that Python's ** calls

namespace fastoptim::FASTOPTIM_ISA {
namespace {

inline float square_root(float x) { return __builtin_sqrtf(x); }
inline double square_root(double x) { return __builtin_sqrt(x); }

// Gradient descent.
template <class T, bool subnormals>
struct Sgd {
  static constexpr const char* name = "sgd";
  static constexpr int n_states = 0, n_options = 0;

  static void coefficients(const double*, double, double lr, double* c) noexcept { c[0] = lr; }

  T rate;

  explicit Sgd(const double* c) : rate(T(c[0])) {}

  void average(T) const {}
  void descend(T& p, T g) const { p = p - rate * g; }
};

// Momentum: an average (or, with weight 1, a sum) of the gradients (Polyak 1964).
template <class T, bool subnormals>
struct Momentum {
  static constexpr const char* name = "momentum";
  static constexpr int n_states = 1, n_options = 4;

  // Options: beta, the weight of g, that of the first g, whether to correct the bias.
  static void coefficients(const double* o, double t, double lr, double* c) noexcept {
    c[0] = o[0];
    c[1] = t == 1 ? o[2] : o[1];
    c[2] = o[3] ? lr / (1 - pow(o[0], t)) : lr;
  }

  T beta, weight, rate, large;

  explicit Momentum(const double* c)
      : beta(T(c[0])), weight(T(c[1])), rate(T(c[2])), large(large_beside<T>(rate)) {}

  void average(T g, T& v) const { v = decayed<subnormals>(beta, v) + weight * g; }
  void descend(T& p, T, T v) const { p = p - rate * felt<subnormals>(v, p, large); }
};

// Nesterov's variant: steps to where the velocity will lead (Sutskever et al. 2013).
template <class T, bool subnormals>
struct Nesterov : Momentum<T, subnormals> {
  static constexpr const char* name = "nesterov";
  using Momentum<T, subnormals>::Momentum;

  // The look-ahead holds one gradient more than v: its weights sum to
  // beta*(1 - beta^t) + 1 - beta = 1 - beta^(t + 1).
  static void coefficients(const double* o, double t, double lr, double* c) noexcept {
    Momentum<T, subnormals>::coefficients(o, t, lr, c);
    c[2] = o[3] ? lr / (1 - pow(o[0], t + 1)) : lr;
  }

  void descend(T& p, T g, T v) const {
    const T ahead = decayed<subnormals>(this->beta, v) + this->weight * g;
    p = p - this->rate * felt<subnormals>(ahead, p, this->large);
  }
};

// RMSProp (Hinton 2012). Of the two epsilons and the two corrections one each is in use; the
// other is 0 or 1, which changes no bit. With momentum, rate is applied to the velocity.
template <class T, bool subnormals>
struct RmsProp {
  static constexpr const char* name = "rmsprop";
  static constexpr int n_states = 1, n_options = 5;

  // Options: beta, eps, momentum, whether to correct the bias, whether eps is under the root.
  // The correction goes under the root where something is added there; else after it, as Adam's.
  static void make_coefficients(const double* o, double t, double lr, bool centered, double* c) {
    const double total = o[3] ? 1 - pow(o[0], t) : 1;
    const bool inside = centered || o[4];
    c[0] = o[0];
    c[1] = 1 - o[0];
    c[2] = inside ? 1 / total : 1;
    c[3] = o[4] ? o[1] : 0;
    c[4] = inside ? 1 : 1 / square_root(total);
    c[5] = o[4] ? 0 : o[1];
    c[6] = lr;
    c[7] = o[2];
  }
  static void coefficients(const double* o, double t, double lr, double* c) noexcept {
    make_coefficients(o, t, lr, false, c);
  }

  T beta, weight, correction_inside, eps_inside, correction_outside, eps_outside, rate, momentum;
  T large, vanishing;

  explicit RmsProp(const double* c)
      : beta(T(c[0])), weight(T(c[1])), correction_inside(T(c[2])), eps_inside(T(c[3])),
        correction_outside(T(c[4])), eps_outside(T(c[5])), rate(T(c[6])), momentum(T(c[7])),
        large(large_beside<T>(rate)),
        vanishing(vanishing_beside<T>(correction_inside, eps_inside, correction_outside,
                                      eps_outside)) {}

  void average(T g, T& s) const { s = decayed<subnormals>(beta, s) + weight * (g * g); }

  T corrected(T s) const {
    return felt_under_root<subnormals>(s, vanishing) * correction_inside;
  }

  T root(T q) const { return square_root(q + eps_inside) * correction_outside + eps_outside; }

  void gather_speed(T g, T root, T& velocity) const {
    velocity = decayed<subnormals>(momentum, velocity) + g / root;
  }
  void move(T& p, T velocity) const { p = p - rate * felt<subnormals>(velocity, p, large); }

  void descend(T& p, T g, T s) const { p = p - (rate * g) / root(corrected(s)); }
};

template <class T, bool subnormals>
struct RmsPropMomentum : RmsProp<T, subnormals> {
  static constexpr const char* name = "rmsprop_momentum";
  static constexpr int n_states = 2;
  using RmsProp<T, subnormals>::RmsProp;

  void average(T g, T& s, T& velocity) const {
    RmsProp<T, subnormals>::average(g, s);
    this->gather_speed(g, this->root(this->corrected(s)), velocity);
  }
  void descend(T& p, T, T, T velocity) const { this->move(p, velocity); }
};

template <class T, bool subnormals>
struct RmsPropCentered : RmsProp<T, subnormals> {
  static constexpr const char* name = "rmsprop_centered";
  static constexpr int n_states = 2;
  using RmsProp<T, subnormals>::RmsProp;

  static void coefficients(const double* o, double t, double lr, double* c) noexcept {
    RmsProp<T, subnormals>::make_coefficients(o, t, lr, true, c);
  }

  // The average of g is taken off: what is left estimates the variance. Rounding can bring it
  // below zero where the gradient hardly varies; a root of that would be NaN, so 0 is used.
  T variance(T s, T mean) const {
    // Its square is taken, so its sign may go: `corrected` knows what vanishes of what has none.
    const T center = this->corrected(subnormals && mean < 0 ? -mean : mean);
    const T q = this->corrected(s) - center * center;
    return q < 0 ? T(0) : q;
  }

  void average(T g, T& s, T& mean) const {
    RmsProp<T, subnormals>::average(g, s);
    mean = decayed<subnormals>(this->beta, mean) + this->weight * g;
  }
  void descend(T& p, T g, T s, T mean) const {
    p = p - (this->rate * g) / this->root(variance(s, mean));
  }
};

template <class T, bool subnormals>
struct RmsPropCenteredMomentum : RmsPropCentered<T, subnormals> {
  static constexpr const char* name = "rmsprop_centered_momentum";
  static constexpr int n_states = 3;
  using RmsPropCentered<T, subnormals>::RmsPropCentered;

  void average(T g, T& s, T& mean, T& velocity) const {
    RmsPropCentered<T, subnormals>::average(g, s, mean);
    this->gather_speed(g, this->root(this->variance(s, mean)), velocity);
  }
  void descend(T& p, T, T, T, T velocity) const { this->move(p, velocity); }
};

// Adam (Kingma & Ba 2015). The bias corrections lie in rate and correction.
template <class T, bool subnormals>
struct Adam {
  static constexpr const char* name = "adam";
  static constexpr int n_states = 2, n_options = 3;

  // Options: beta1, beta2, eps.
  static void coefficients(const double* o, double t, double lr, double* c) noexcept {
    c[0] = o[0];
    c[1] = 1 - o[0];
    c[2] = o[1];
    c[3] = 1 - o[1];
    c[4] = lr / (1 - pow(o[0], t));
    c[5] = 1 / square_root(1 - pow(o[1], t));
    c[6] = o[2];
  }

  T beta1, weight1, beta2, weight2, rate, correction, eps, large, vanishing;

  explicit Adam(const double* c)
      : beta1(T(c[0])), weight1(T(c[1])), beta2(T(c[2])), weight2(T(c[3])), rate(T(c[4])),
        correction(T(c[5])), eps(T(c[6])), large(large_beside<T>(double(rate) / double(eps))),
        vanishing(vanishing_beside<T>(1, 0, correction, eps)) {}

  void average(T g, T& m, T& v) const {
    m = decayed<subnormals>(beta1, m) + weight1 * g;
    v = decayed<subnormals>(beta2, v) + weight2 * (g * g);
  }

  void descend(T& p, T, T m, T v) const {
    const T root = square_root(felt_under_root<subnormals>(v, vanishing));
    p = p - (rate * felt<subnormals>(m, p, large)) / (root * correction + eps);
  }
};

// AMSGrad: Adam whose second moment never falls (Reddi, Kale & Kumar 2018).
template <class T, bool subnormals>
struct AdamAmsgrad : Adam<T, subnormals> {
  static constexpr const char* name = "adam_amsgrad";
  static constexpr int n_states = 3;
  using Adam<T, subnormals>::Adam;

  void average(T g, T& m, T& v, T& v_max) const {
    Adam<T, subnormals>::average(g, m, v);
    v_max = (v_max > v || v_max != v_max) ? v_max : v;  // NaN stays, as in np.maximum
  }
  void descend(T& p, T g, T m, T, T v_max) const {
    Adam<T, subnormals>::descend(p, g, m, v_max);
  }
};

// The one list: a rule that stands here has its kernels in every table.
#define FASTOPTIM_RULES(RULE)                                                           \
  RULE(Sgd) RULE(Momentum) RULE(Nesterov) RULE(RmsProp) RULE(RmsPropMomentum)           \
  RULE(RmsPropCentered) RULE(RmsPropCenteredMomentum) RULE(Adam) RULE(AdamAmsgrad)

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
