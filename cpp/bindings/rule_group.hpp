// A group of parameters: its rule, its options, and the coefficients of a step.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "../kernels/kernels.hpp"

namespace fastoptim {

namespace py = pybind11;

// A rule and its options, as Python describes them: the arguments of `_core.Rule`.
//
// `_core.Rule` and `_core.Tensor` are functions that check their keyword-only arguments and return
// them as a tuple, which these structs unpack. They are not classes because pybind11 allocates C++
// memory for an instance where it cannot handle a std::bad_alloc: if memory runs out in
// load_state_dict, which makes rules, the process would end.
struct RuleSpec {
  std::string kernel;  // the full name of the compiled rule: "rmsprop_centered_momentum"
  double weight_decay;
  bool decoupled, maximize;
  std::vector<double> options;  // the rule's own, in the order of RuleFacts::options

  static py::tuple pack(const py::str& kernel, double weight_decay, bool decoupled, bool maximize,
                        const py::sequence& options);
  explicit RuleSpec(py::handle packed);
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
