// A parameter with its gradient and states: checked once, laid out for the kernels, and checked
// again before each step.
#pragma once

#include <string>
#include <vector>

#include "../core/layout.hpp"
#include "arrays.hpp"
#include "rule_group.hpp"
#include "write_set.hpp"

namespace fastoptim {

// A parameter and what goes with it, as Python describes them: the arguments of `_core.Tensor`.
struct TensorSpec {
  std::size_t group;                // index of its rule
  std::vector<std::string> labels;  // what errors call the parameter, gradient, states and master
  py::object parameter;
  py::object gradient;  // None: it comes with each step
  std::vector<py::object> states;
  std::vector<py::array> scales;  // of the states in q8: one for each state, or none
  py::object master;              // of a parameter of fewer bytes: its float32 master, or None

  static py::tuple pack(const py::object& parameter, const py::object& gradient,
                        const py::sequence& states, const py::sequence& labels,
                        const py::sequence& scales, const py::object& master, std::size_t group);
  explicit TensorSpec(py::handle packed);
};

// An array, and its header as it was when the array was checked. NumPy lets the owner of an array
// change its shape, strides, dtype and memory afterwards.
class BoundArray {
 public:
  BoundArray(py::array x, std::string label);

  const py::array& array() const { return array_; }
  const std::string& label() const { return label_; }
  Region region() const { return region_of(array_, label_); }

  // ValueError if the header has changed.
  void check_unchanged() const {
    if (data_of(array_) != data_ || !signature_.matches(array_)) refuse_changed();
  }
  // The same, or if the array has become read-only.
  void check_updatable_still() const {
    check_unchanged();
    if (!is_writable(array_)) refuse_read_only(label_);
  }

 private:
  [[noreturn]] void refuse_changed() const;

  py::array array_;
  const char* data_;
  ArraySignature signature_;
  std::string label_;
  ResizeGuard base_guard_;  // the header of a view does not show that its base was resized
};

// A gradient that was given to a step.
struct StepGradient {
  py::array array;
  Storage storage;
  bool matches_layout;  // has the signature and alignment that the tensor is laid out for
};

class BoundTensor {
 public:
  // Checks all arrays but for shared memory. TypeError or ValueError names the array and the rule
  // that it breaks.
  BoundTensor(TensorSpec spec, const RuleGroup& group, bool uint16_is_bfloat16);

  std::size_t group() const { return group_; }
  bool computes_in_float64() const { return storages_[0] == Storage::float64; }
  bool has_bound_gradient() const { return has_bound_gradient_; }
  const BoundArray& parameter() const { return arrays_[0]; }
  const BoundArray& gradient() const { return arrays_[1]; }
  const Layout& layout() const { return layout_; }  // for the last gradient

  // Appends the regions of all arrays that a step writes.
  void add_written(std::vector<Region>& regions) const;

  // ValueError if an array that a step writes has changed or become read-only.
  void check_written() const {
    for (const BoundArray& x : arrays_)
      if (&x != &arrays_[1]) x.check_updatable_still();
    for (const BoundArray& x : scales_) x.check_updatable_still();
  }

  // Checks a gradient in full, or, if it has the signature of the last one, only for memory that
  // it shares with an array that the step writes.
  void check_gradient(StepGradient& grad, const WriteSet& written) const;

  // Makes `tensor`, which the kernels get, refer to a gradient that was checked, or to the bound
  // one. May throw std::bad_alloc; a later call repairs what was left halfway.
  void set_gradient(const StepGradient& grad, Tensor& tensor);
  void set_bound_gradient(Tensor& tensor);

  // Calls f(PyObject*) for every array, until it returns other than 0.
  template <class F>
  int visit(const F& f) const {
    for (const std::vector<BoundArray>* arrays : {&arrays_, &scales_})
      for (const BoundArray& x : *arrays)
        if (const int stop = f(x.array().ptr())) return stop;
    return 0;
  }

 private:
  void bind_arrays(TensorSpec& spec, const RuleGroup& group);  // takes the labels
  void check_arrays(int n_states, bool in_q8);
  void bind_scales(const TensorSpec& spec);
  void lay_out(const py::array& grad, Storage storage, Tensor& tensor);

  const std::size_t group_;
  const bool has_bound_gradient_, has_master_, uint16_is_bfloat16_;
  // The parameter, gradient, states and master. If no gradient is bound, the parameter stands in
  // for it.
  std::vector<BoundArray> arrays_;
  std::vector<BoundArray> scales_;
  std::vector<Storage> storages_;  // of each array; the gradient's is that of the last step
  Storage bound_storage_{};        // of the bound gradient

  Layout layout_;
  // The gradient that layout_ was made for.
  ArraySignature laid_out_signature_;
  bool laid_out_aligned_ = false;
  Index bytes_before_ = 0, bytes_after_ = 0;  // that its elements occupy around its data pointer
};

}  // namespace fastoptim
