// A list of parameters with their gradients and states, checked once and ready to be stepped.
#pragma once

#include <atomic>
#include <list>
#include <string>
#include <vector>

#include "../layout.hpp"
#include "../step.hpp"
#include "arrays.hpp"

namespace fastoptim {

class BoundStep {
 public:
  // rules: the kernel's name for each group of tensors. tensors: for each, (group, labels,
  // arrays), the arrays being the parameter, the gradient (None if it comes with each step) and
  // the states; a label is what an error calls an array.
  BoundStep(const py::sequence& rules, const py::sequence& tensors);

  // Takes step t, counted from 1. coefficients: for each group (maximize, l2, decay, then the
  // rule's own). grads: a sequence in the tensors' order, or None for bound ones. Everything is
  // checked before the first byte changes. RuntimeError if another thread is stepping, or has
  // stepped since t was read.
  void run(Index t, const py::sequence& coefficients, const py::object& grads);

  // Sets the count and copies arrays over the states: (destination, source) pairs that were
  // checked by the caller.
  void restore(Index t, const py::sequence& copies);

  Index t() const { return t_; }  // steps taken

 private:
  struct Item {
    std::vector<py::array> arrays;  // in the order of Tensor::operands
    std::vector<std::string> labels;
    Layout layout;
    Storage storage;
    bool bound;             // the gradient stays the same
    std::vector<Index> shape;  // of the parameter, as it was when it was checked
    std::vector<const char*> data;
  };
  struct Group {
    const RuleKernels* rule;
    bool used[n_storages] = {};
  };

  class Turn;

  void bind_gradient(Item& item, Tensor& tensor, py::handle grad);
  void lay_out(Item& item, Tensor& tensor);
  void check_unchanged(const Item& item) const;
  void read_coefficients(const py::sequence& coefficients);

  std::vector<Group> groups_;
  std::vector<Coefficients> coefficients_;
  std::list<Item> items_;  // a list, since regions and tensors point into its items
  WorkList work_;
  Written written_;
  std::atomic<Index> t_{0};
  std::atomic<bool> busy_{false};
};

}  // namespace fastoptim
