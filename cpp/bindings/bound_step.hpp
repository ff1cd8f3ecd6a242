// A list of parameters with their gradients and states, checked once and ready to be stepped.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "../core/layout.hpp"
#include "../core/step.hpp"
#include "arrays.hpp"

namespace fastoptim {

class BoundStep {
 public:
  // rules: for each group of tensors (kernel's name, weight_decay, decoupled, maximize, the
  // rule's own options, their names). tensors: for each (group, labels, arrays, scales), the arrays being the
  // parameter, the gradient (None if it comes with each step), the states, and, for a parameter of
  // fewer bytes, perhaps its float32 master; a label is what an error calls an array; the scales
  // of each state in q8, else none. t: steps taken before, by the step and by each tensor.
  BoundStep(const py::sequence& rules, const py::sequence& tensors, Index t,
            bool uint16_is_bfloat16);
  BoundStep(const BoundStep&) = delete;

  // Takes a step. lr: a float for all groups, or a sequence with one for each. grads: a sequence
  // in the tensors' order, or None for bound ones. t: the steps taken when lr was read off a
  // schedule, else None. Everything is checked before the first byte changes. RuntimeError if
  // another thread is stepping, or has stepped since t; or, in a forked child, if one was stepping
  // at the fork, until commit() loads a state.
  void run(py::handle lr, py::handle grads, py::handle t);

  // How what is stored in fewer bytes is rounded. To nearest until this is called.
  void set_rounding(bool stochastic, std::uint64_t seed);

  // Fills states that empty_state made.
  void zero_states() { work_.zero_states(); }

  // The steps taken, those of each tensor, each tensor's number, and copies of arrays: all of one
  // moment.
  py::tuple snapshot(const py::sequence& arrays);

  // Every change of an optimizer that a step must see whole. Sets each group's rule, whose kernel
  // stays, and the rounding. progress: None, or (steps taken, those of each tensor, each tensor's
  // number). copies: (destination, source) pairs of arrays of one shape and dtype, the destinations
  // being arrays of this step; a source that shares memory with an array that is written is copied
  // first. stores: (object, attribute, value), what Python keeps of the same facts. One call: a
  // signal handler runs between two bytecodes, so it finds all of it changed, or nothing.
  void commit(const py::sequence& rules, bool stochastic, std::uint64_t seed,
              const py::object& progress, const py::sequence& copies, const py::sequence& stores);

  // Calls f for every array that is kept from step to step, until it returns other than 0.
  template <class F>
  int visit(const F& f) const {
    for (const Item& item : items_)
      for (const std::vector<Array>* arrays : {&item.arrays, &item.scales})
        for (const Array& x : *arrays)
          if (const int stop = f(x.array.ptr())) return stop;
    return 0;
  }

  Index t() const { return t_; }  // steps taken
  bool looked_for_subnormals() const { return work_.looked_for_subnormals(); }

 private:
  class Turn;

  struct Group {
    const RuleKernels* rule;
    double weight_decay;
    bool decoupled, maximize;
    double options[max_options];
    std::vector<std::string> option_names;
    bool in_float32 = false;  // whether a tensor of it computes in that type
  };
  // An array and what its header said when it was checked: NumPy lets its owner rewrite it.
  struct Array {
    py::array array;
    const char* data;
    Form form;
    std::string label;

    Array(py::array x, std::string name);
    [[noreturn]] void refuse_changed() const;
    void check_unchanged() const;
    void check_written() const;  // unchanged, and still writable
  };
  struct Item {
    std::size_t group;
    std::vector<Array> arrays;      // in the order in which they came; the parameter stands in for
    bool bound;                     // a gradient that is not bound, but comes with each step
    std::vector<Storage> storages;  // of each; the gradient's is that of the last step
    Storage bound_storage;          // the gradient's, if it is bound
    std::vector<Array> scales;      // of the states in q8: of all of them or none
    bool master;                    // whether the last array is one
    Layout layout;
    // The gradient that the layout was made for: that of the last step, or one like it.
    Form grad_form;
    bool grad_aligned;
    Index grad_before, grad_after;  // bytes that its elements reach from where its data begin
  };
  // A gradient that came with the step.
  struct Fresh {
    py::array array;
    Storage storage;
    bool like_last;
  };

  // Tensors of one group that have taken the same number of steps: they share coefficients.
  struct Cohort {
    std::size_t group;
    Index count;
  };
  struct Cohorts {
    std::vector<Cohort> all;
    std::vector<int> of_tensor;
  };

  static Group make_group(const py::tuple& rule);
  Group changed_group(std::size_t group, const py::tuple& rule) const;
  static void lay_out(Item& item, const py::array& grad, Storage storage, Tensor& tensor);
  Cohorts make_cohorts(const std::vector<Index>& counts) const;
  void take_cohorts(Cohorts&& cohorts) noexcept;  // needs room in coefficients_
  void prepare(py::handle lr);
  static void check_coefficients(const Group& group, double lr, const Coefficients& c);
  void take(py::handle grads);
  void check(const Item& item, Fresh& grad) const;

  std::vector<Group> groups_;
  std::vector<Cohort> cohorts_;
  std::vector<Coefficients> coefficients_;  // of each cohort
  std::vector<Item> items_;
  WorkList work_;
  Written written_;
  std::vector<Fresh> fresh_;  // the gradients of the step that is under way, if they came with it
  bool bound_in_use_ = true;  // whether the tensors' gradients are the bound ones
  bool uint16_is_bfloat16_;
  bool stochastic_ = false;
  std::uint64_t seed_ = 0;
  std::atomic<Index> t_;
  std::atomic<unsigned> holder_{0};  // of the turn: how many forks there had been, plus 1
  bool writing_ = false;  // parameters or states; what is cut off then, as by a fork, is torn
};

}  // namespace fastoptim
