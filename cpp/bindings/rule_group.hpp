// A group of parameters: its rule, its options, and the coefficients of a step.
#pragma once

#include <string>
#include <vector>

#include "../kernels/kernels.hpp"

namespace fastoptim {

// `_core.Rule`: a rule and its options, as Python describes them.
struct RuleSpec {
  std::string kernel;  // the full name of the compiled rule: "rmsprop_centered_momentum"
  double weight_decay;
  bool decoupled, maximize;
  std::vector<double> options;  // the rule's own, in the order of RuleFacts::options
};

class RuleGroup {
 public:
  explicit RuleGroup(const RuleSpec& spec);  // ValueError if there is no such rule

  const RuleKernels& rule() const { return *rule_; }
  std::string name() const;  // the full name of the rule

  // To be called if a parameter of the group computes in float32: its coefficients must then be
  // representable in that type.
  void set_in_float32() { in_float32_ = true; }

  // This group with another rule's options. ValueError if that has another kernel.
  RuleGroup with_options(const RuleSpec& spec) const;

  // Computes the coefficients of step t, counted from 1. ValueError if the compute type cannot
  // represent one of them.
  void set_coefficients(double lr, Index t, Coefficients& c) const;

 private:
  void check_representable(double lr, const Coefficients& c) const;

  const RuleKernels* rule_;
  double weight_decay_;
  bool decoupled_, maximize_;
  double options_[max_options] = {};
  bool in_float32_ = false;
};

}  // namespace fastoptim
