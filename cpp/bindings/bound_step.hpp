// A list of parameters with their gradients and states, checked once and ready to be stepped.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "../layout.hpp"
#include "../step.hpp"
#include "arrays.hpp"

namespace fastoptim {

class BoundStep {
 public:
  // rules: for each group of tensors (kernel's name, weight_decay, decoupled, maximize, the
  // rule's own options). tensors: for each (group, labels, arrays), the arrays being the
  // parameter, the gradient (None if it comes with each step) and the states; a label is what an
  // error calls an array. t: steps taken before.
  BoundStep(const py::sequence& rules, const py::sequence& tensors, Index t);
  BoundStep(const BoundStep&) = delete;

  // Takes a step. lr: a float for all groups, or a sequence with one for each. grads: a sequence
  // in the tensors' order, or None for bound ones. t: the steps taken when lr was read off a
  // schedule, else None. Everything is checked before the first byte changes. RuntimeError if
  // another thread is stepping, or has stepped since t.
  void run(py::handle lr, py::handle grads, py::handle t);

  // Replaces a group's options; the kernel stays.
  void set_rule(std::size_t group, const py::tuple& rule);

  // Sets the count and copies arrays over the states: (destination, source) pairs that were
  // checked by the caller.
  void restore(Index t, const py::sequence& copies);

  Index t() const { return t_; }  // steps taken

 private:
  class Turn;

  struct Group {
    const RuleKernels* rule;
    double weight_decay;
    bool decoupled, maximize;
    double options[max_options];
    bool in_float32 = false;  // whether a tensor of it computes in that type
  };
  struct Array {
    py::array array;
    std::string label;
    const char* data;  // as it was when it was checked
  };
  struct Item {
    std::vector<Array> arrays;  // in the order of Tensor::operands
    std::vector<Index> shape;
    Layout layout;
    bool bound;  // the gradient stays the same
  };

  static Group make_group(const py::tuple& rule);
  void lay_out(Item& item, Tensor& tensor);
  void check_unchanged(const Item& item) const;
  void bind_gradient(Item& item, Tensor& tensor, py::handle grad);
  void prepare(Index t, py::handle lr);

  std::vector<Group> groups_;
  std::vector<Coefficients> coefficients_;
  std::vector<Item> items_;
  WorkList work_;
  Written written_;
  std::atomic<Index> t_;
  std::atomic<bool> busy_{false};
};

}  // namespace fastoptim
