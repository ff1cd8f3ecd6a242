// The update rules: what one step does to one element, in the order of operations that
// tests/reference.py states.
//
// `coefficients` computes in double what a step multiplies by, from the options that rules.py
// lists, t and lr. The constructor rounds each to the compute type, once.
#pragma once

#include "kernels.hpp"

extern "C" double pow(double, double) noexcept;  // the one that Python's ** calls

namespace fastoptim::FASTOPTIM_ISA {
namespace {

inline float square_root(float x) { return __builtin_sqrtf(x); }
inline double square_root(double x) { return __builtin_sqrt(x); }

// Gradient descent.
template <class T>
struct Sgd {
  using Real = T;
  static constexpr const char* name = "sgd";
  static constexpr int n_states = 0, n_options = 0;

  static void coefficients(const double*, double, double lr, double* c) noexcept { c[0] = lr; }

  T rate;

  explicit Sgd(const double* c) : rate(T(c[0])) {}

  void operator()(T& p, T g) const { p = p - rate * g; }
};

// Momentum: an average (or, with weight 1, a sum) of the gradients (Polyak 1964).
template <class T>
struct Momentum {
  using Real = T;
  static constexpr const char* name = "momentum";
  static constexpr int n_states = 1, n_options = 4;

  // Options: beta, the weight of g, that of the first g, whether to correct the bias.
  static void coefficients(const double* o, double t, double lr, double* c) noexcept {
    c[0] = o[0];
    c[1] = t == 1 ? o[2] : o[1];
    c[2] = o[3] ? lr / (1 - pow(o[0], t)) : lr;
  }

  T beta, weight, rate;

  explicit Momentum(const double* c) : beta(T(c[0])), weight(T(c[1])), rate(T(c[2])) {}

  void operator()(T& p, T g, T& v) const {
    v = beta * v + weight * g;
    p = p - rate * v;
  }
};

// Nesterov's variant: steps to where the velocity will lead (Sutskever et al. 2013).
template <class T>
struct Nesterov : Momentum<T> {
  static constexpr const char* name = "nesterov";
  using Momentum<T>::Momentum;

  // The look-ahead holds one gradient more than v: its weights sum to
  // beta*(1 - beta^t) + 1 - beta = 1 - beta^(t + 1).
  static void coefficients(const double* o, double t, double lr, double* c) noexcept {
    Momentum<T>::coefficients(o, t, lr, c);
    c[2] = o[3] ? lr / (1 - pow(o[0], t + 1)) : lr;
  }

  void operator()(T& p, T g, T& v) const {
    v = this->beta * v + this->weight * g;
    p = p - this->rate * (this->beta * v + this->weight * g);
  }
};

// RMSProp (Hinton 2012). Of the two epsilons and the two corrections one each is in use; the
// other is 0 or 1, which changes no bit. With momentum, rate is applied to the velocity.
template <class T>
struct RmsProp {
  using Real = T;
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

  explicit RmsProp(const double* c)
      : beta(T(c[0])), weight(T(c[1])), correction_inside(T(c[2])), eps_inside(T(c[3])),
        correction_outside(T(c[4])), eps_outside(T(c[5])), rate(T(c[6])), momentum(T(c[7])) {}

  void square(T g, T& s) const { s = beta * s + weight * (g * g); }

  T root(T q) const { return square_root(q + eps_inside) * correction_outside + eps_outside; }

  void descend(T& p, T g, T root) const { p = p - (rate * g) / root; }

  void descend(T& p, T g, T root, T& velocity) const {
    velocity = momentum * velocity + g / root;
    p = p - rate * velocity;
  }

  void operator()(T& p, T g, T& s) const {
    square(g, s);
    descend(p, g, root(s * correction_inside));
  }
};

template <class T>
struct RmsPropMomentum : RmsProp<T> {
  static constexpr const char* name = "rmsprop_momentum";
  static constexpr int n_states = 2;
  using RmsProp<T>::RmsProp;

  void operator()(T& p, T g, T& s, T& velocity) const {
    this->square(g, s);
    this->descend(p, g, this->root(s * this->correction_inside), velocity);
  }
};

template <class T>
struct RmsPropCentered : RmsProp<T> {
  static constexpr const char* name = "rmsprop_centered";
  static constexpr int n_states = 2;
  using RmsProp<T>::RmsProp;

  static void coefficients(const double* o, double t, double lr, double* c) noexcept {
    RmsProp<T>::make_coefficients(o, t, lr, true, c);
  }

  // The average of g is taken off: what is left estimates the variance. Rounding can bring it
  // below zero where the gradient hardly varies; a root of that would be NaN, so 0 is used.
  T variance(T g, T s, T& mean) const {
    mean = this->beta * mean + this->weight * g;
    const T corrected = mean * this->correction_inside;
    const T q = s * this->correction_inside - corrected * corrected;
    return q < 0 ? T(0) : q;
  }

  void operator()(T& p, T g, T& s, T& mean) const {
    this->square(g, s);
    this->descend(p, g, this->root(variance(g, s, mean)));
  }
};

template <class T>
struct RmsPropCenteredMomentum : RmsPropCentered<T> {
  static constexpr const char* name = "rmsprop_centered_momentum";
  static constexpr int n_states = 3;
  using RmsPropCentered<T>::RmsPropCentered;

  void operator()(T& p, T g, T& s, T& mean, T& velocity) const {
    this->square(g, s);
    this->descend(p, g, this->root(this->variance(g, s, mean)), velocity);
  }
};

// Adam (Kingma & Ba 2015). The bias corrections lie in rate and correction.
template <class T>
struct Adam {
  using Real = T;
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

  T beta1, weight1, beta2, weight2, rate, correction, eps;

  explicit Adam(const double* c)
      : beta1(T(c[0])), weight1(T(c[1])), beta2(T(c[2])), weight2(T(c[3])), rate(T(c[4])),
        correction(T(c[5])), eps(T(c[6])) {}

  void moments(T g, T& m, T& v) const {
    m = beta1 * m + weight1 * g;
    v = beta2 * v + weight2 * (g * g);
  }

  void descend(T& p, T m, T v) const {
    p = p - (rate * m) / (square_root(v) * correction + eps);
  }

  void operator()(T& p, T g, T& m, T& v) const {
    moments(g, m, v);
    descend(p, m, v);
  }
};

// AMSGrad: Adam whose second moment never falls (Reddi, Kale & Kumar 2018).
template <class T>
struct AdamAmsgrad : Adam<T> {
  static constexpr const char* name = "adam_amsgrad";
  static constexpr int n_states = 3;
  using Adam<T>::Adam;

  void operator()(T& p, T g, T& m, T& v, T& v_max) const {
    this->moments(g, m, v);
    v_max = (v_max > v || v_max != v_max) ? v_max : v;  // NaN stays, as in np.maximum
    this->descend(p, m, v_max);
  }
};

// The one list: a rule that stands here has its kernels in every table.
#define FASTOPTIM_RULES(RULE)                                                           \
  RULE(Sgd) RULE(Momentum) RULE(Nesterov) RULE(RmsProp) RULE(RmsPropMomentum)           \
  RULE(RmsPropCentered) RULE(RmsPropCenteredMomentum) RULE(Adam) RULE(AdamAmsgrad)

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
