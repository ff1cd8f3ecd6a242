// Steps of the functional layer that a thread has taken lately, so that it need not check and lay out
// the same arrays and options again.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "../core/step.hpp"
#include "arrays.hpp"
#include "rule_group.hpp"

namespace fastoptim {

// What the checks of an array depend on: its dtype, extents, strides and flags.
//
// It holds no Python object, and so keeps none alive and may be destroyed without the GIL. An equal
// header gets equal answers from every check, whatever happened to the array that it was read from:
// freed memory at the same address, under an equal header, is as good.
class Header {
 public:
  Header(const py::array& x, int flags);
  bool matches(const py::array& x) const;

 private:
  int flags_mask_, flags_, n_axes_, type_number_;
  char byte_order_;
  std::vector<Index> extents_and_strides_;
};

// The options of a call, by value: what they were checked for. seed and rounding, which a step only
// hands on, are left out, as are t and lr, which change from call to call.
class OptionValues {
 public:
  // Returns whether x is of a kind that can be compared: None, a bool, a float (numpy.float64 too),
  // an int, or a tuple of two of these. Foreign types are not, since their values may change.
  bool add(PyObject* x);
  bool operator==(const OptionValues& other) const;

 private:
  struct Value {
    char kind;
    std::uint64_t bits;
  };
  // The largest number of options of a function is 9; each may be a pair.
  std::array<Value, 24> values_;
  int n_ = 0;
};

// What the functional layer's functions are called with, apart from their options.
struct FunctionCall {
  int function;  // which one
  PyObject* const*
      arrays;  // the parameter, the gradient, then the states, None where one is absent
  int n_arrays;
};

// A step whose arrays and options were checked, without a reference to the arrays.
class RecentStep {
 public:
  // work, layout: as a BoundStep laid them out. The work's pointers into the layout may be to
  // another copy of it.
  RecentStep(const FunctionCall& call, const OptionValues& options, const RuleGroup& group,
             const Work& work, const Layout& layout, Origin origin);

  // Whether the arrays written by a call are those of this step, with equal headers.
  bool writes_same(const FunctionCall& call) const;
  bool has_options(const OptionValues& options) const { return options_ == options; }
  // Makes the step read the gradient x. Returns false if x has not been checked: if its header
  // differs, or if its address has changed to where it might share memory with what is written.
  bool set_gradient(const py::array& x);

  void run(const FunctionCall& call, double lr, Index t, bool stochastic, std::uint64_t seed);

 private:
  struct Written {
    const char *data, *begin, *end;
    Header header;
  };

  int function_;
  OptionValues options_;
  RuleGroup group_;
  Layout layout_;
  WorkList work_;
  std::vector<Written> written_;
  std::uint32_t present_;  // a bit for each array of the call that is not None
  Header gradient_;
  Index bytes_before_, bytes_after_;  // that the gradient's elements occupy around its data pointer
};

// The table: sets of a few steps each, the most recently used first. A call can only be in the set
// that its parameter's address selects.
class RecentSteps {
 public:
  // Each thread has its own: there is nothing to lock, also without the GIL and in a forked child, and
  // no other thread can replace a step that runs.
  static RecentSteps& of_this_thread();

  // The step of a call with these arrays, whatever its options; null if there is none.
  RecentStep* find(const FunctionCall& call);
  // Takes the place of a step with the same arrays, or of the least recently used one of its set.
  void keep(const FunctionCall& call, std::unique_ptr<RecentStep> step);

 private:
  // 256 steps, which take some 200 KB: a model whose every tensor is stepped by a call of its own
  // finds them all again. A set is searched in order, 5 ns a step.
  static constexpr int n_sets = 64, set_size = 4;
  using Set = std::array<std::unique_ptr<RecentStep>, set_size>;

  Set& set_of(const FunctionCall& call);

  std::array<Set, n_sets> sets_;
};

// The method `_core.repeat_step`.
PyObject* repeat_step(PyObject* module, PyObject* const* args, Py_ssize_t n_args);

}  // namespace fastoptim
