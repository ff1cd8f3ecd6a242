#include "bound_step.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "../dispatch.hpp"

namespace fastoptim {
namespace {

const RuleKernels& find_rule(const std::string& name) {
  for (int k = 0; k < kernels().n_rules; ++k)
    if (name == kernels().rules[k].name) return kernels().rules[k];
  throw py::value_error("rule must be one of the compiled ones, got '" + name + "'");
}

}  // namespace

BoundStep::BoundStep(const py::sequence& rules, const py::sequence& tensors) {
  for (py::handle name : rules) groups_.push_back({&find_rule(name.cast<std::string>())});
  coefficients_.resize(groups_.size());

  std::vector<Region> written;
  for (py::handle entry : tensors) {
    const auto [index, labels, arrays] =
        entry.cast<std::tuple<std::size_t, std::vector<std::string>, std::vector<py::object>>>();
    Group& group = groups_.at(index);
    if (int(arrays.size()) != 2 + group.rule->n_states || labels.size() != arrays.size())
      throw py::value_error(std::string(group.rule->name) + " takes " +
                            std::to_string(2 + group.rule->n_states) + " arrays a tensor, got " +
                            std::to_string(arrays.size()));
    Item& item = items_.emplace_back();
    item.labels = labels;
    item.bound = !arrays[1].is_none();
    for (std::size_t k = 0; k < arrays.size(); ++k)
      item.arrays.push_back(as_array(k == 1 && !item.bound ? arrays[0] : arrays[k], labels[k]));

    const py::array& parameter = item.arrays[0];
    item.storage = check_dtype(parameter, labels[0]);
    group.used[int(item.storage)] = true;
    for (std::size_t k = 0; k < arrays.size(); ++k) {
      if (k == 1) continue;
      if (k > 1) check_like(item.arrays[k], labels[k], parameter, labels[0]);
      check_updatable(item.arrays[k], labels[k]);
      written.push_back(region_of(item.arrays[k], labels[k]));
      written.back().label = &item.labels[k];
    }
    const Shape shape = shape_of(parameter);
    item.shape.assign(shape.extents, shape.extents + shape.n_axes);
  }
  written_ = Written(std::move(written));

  auto entry = tensors.begin();
  for (Item& item : items_) {
    const auto index = (*entry++).cast<py::sequence>()[0].cast<int>();
    if (item.bound) {
      check_like(item.arrays[1], item.labels[1], item.arrays[0], item.labels[0]);
      written_.check_apart(item.arrays[1], item.labels[1]);
    }
    Work work{{}, groups_[index].rule->sweep[int(item.storage)], index};
    lay_out(item, work.tensor);
    work_.add(work);
  }
}

void BoundStep::lay_out(Item& item, Tensor& tensor) {
  std::vector<Strides> strides;
  for (const py::array& x : item.arrays) strides.push_back(strides_of(x));
  item.layout = make_layout(shape_of(item.arrays[0]), strides);
  item.data.clear();
  for (std::size_t k = 0; k < item.arrays.size(); ++k) {
    const py::array& x = item.arrays[k];
    const bool plain = is_aligned(x) && item.layout.contiguous(k, x.itemsize());
    tensor.operands[k] = {data_of(x), plain ? nullptr : item.layout.strides[k].data()};
    item.data.push_back(data_of(x));
  }
  tensor.extents = item.layout.extents.data();
  tensor.n_axes = int(item.layout.extents.size());
  tensor.size = item.layout.size;
}

// An array may have been resized, retyped or locked since it was checked.
void BoundStep::check_unchanged(const Item& item) const {
  for (std::size_t k = 0; k < item.arrays.size(); ++k) {
    if (k == 1 && !item.bound) continue;
    const py::array& x = item.arrays[k];
    const Shape shape = shape_of(x);
    if (data_of(x) != item.data[k] || shape.n_axes != int(item.shape.size()) ||
        !std::equal(item.shape.begin(), item.shape.end(), shape.extents) ||
        header(x)->descr != header(item.arrays[0])->descr)
      check_dtype(x, item.labels[k]),
          throw py::value_error(item.labels[k] +
                                " must stay the array that it was when it was bound, got one "
                                "that was resized or reshaped");
    if (k != 1 && !is_writable(x))
      throw py::value_error(item.labels[k] + " must be writable, got a read-only array");
  }
}

void BoundStep::bind_gradient(Item& item, Tensor& tensor, py::handle grad) {
  py::array x = as_array(grad, item.labels[1]);
  check_like(x, item.labels[1], item.arrays[0], item.labels[0]);
  written_.check_apart(x, item.labels[1]);
  const bool same_strides =
      std::equal(item.shape.begin(), item.shape.end(), x.shape(), x.shape() + x.ndim()) &&
      std::memcmp(x.strides(), item.arrays[1].strides(), sizeof(Index) * x.ndim()) == 0 &&
      is_aligned(x) == is_aligned(item.arrays[1]);
  item.arrays[1] = std::move(x);
  if (same_strides)
    tensor.operands[1].data = data_of(item.arrays[1]);
  else
    lay_out(item, tensor);
}

void BoundStep::read_coefficients(const py::sequence& coefficients) {
  if (coefficients.size() != groups_.size())
    throw py::value_error("coefficients must have one entry a group (" +
                          std::to_string(groups_.size()) + "), got " +
                          std::to_string(coefficients.size()));
  for (std::size_t k = 0; k < groups_.size(); ++k) {
    const auto given = coefficients[k].cast<py::tuple>();
    const Group& group = groups_[k];
    if (int(given.size()) != 3 + group.rule->n_coefficients)
      throw py::value_error(std::string(group.rule->name) + " takes " +
                            std::to_string(3 + group.rule->n_coefficients) +
                            " coefficients, got " + std::to_string(given.size()));
    double values[3 + max_coefficients];
    for (std::size_t i = 0; i < given.size(); ++i) {
      values[i] = PyFloat_AsDouble(given[i].ptr());
      if (values[i] == -1 && PyErr_Occurred()) throw py::error_already_set();
      if (!std::isfinite(values[i]) ||
          (group.used[int(Storage::float32)] && !std::isfinite(float(values[i]))))
        throw py::value_error(
            std::string("every coefficient must be finite in the parameters' dtype, got ") +
            std::string(py::repr(given[i])) + ": a learning rate or another option is too large");
    }
    Coefficients& c = coefficients_[k];
    c.maximize = values[0] != 0;
    c.l2 = values[1];
    c.decay = values[2];
    std::copy(values + 3, values + given.size(), c.rule);
  }
}

// One thread at a time; the others are told so, since waiting would hide the mistake.
class BoundStep::Turn {
 public:
  explicit Turn(std::atomic<bool>& busy) : busy_(busy) {
    if (busy_.exchange(true)) refuse();
  }
  ~Turn() { busy_ = false; }
  Turn(const Turn&) = delete;

  [[noreturn]] static void refuse() {
    throw std::runtime_error(
        "an optimizer must be used by one thread at a time, got another step meanwhile");
  }

 private:
  std::atomic<bool>& busy_;
};

void BoundStep::restore(Index t, const py::sequence& copies) {
  const Turn turn(busy_);
  const py::object copyto = py::module_::import("numpy").attr("copyto");
  for (py::handle pair : copies) copyto(*py::reinterpret_borrow<py::tuple>(pair));
  t_ = t;
}

void BoundStep::run(Index t, const py::sequence& coefficients, const py::object& grads) {
  const Turn turn(busy_);
  if (t != t_ + 1) Turn::refuse();
  read_coefficients(coefficients);
  std::optional<py::sequence> fresh;
  if (!grads.is_none()) fresh = py::reinterpret_borrow<py::sequence>(grads);
  if (fresh && fresh->size() != items_.size())
    throw py::value_error("grads must hold " + std::to_string(items_.size()) + " arrays, got " +
                          std::to_string(fresh->size()));
  std::size_t k = 0;
  for (Item& item : items_) {
    check_unchanged(item);
    if (fresh) bind_gradient(item, work_[k].tensor, (*fresh)[k]);
    else if (!item.bound)
      throw py::value_error(item.labels[1] + " must be given: no gradient is bound");
    ++k;
  }
  {
    py::gil_scoped_release release;
    work_.run(coefficients_.data());
  }
  t_ = t;  // here and not in Python, where an interrupt could come between
}

}  // namespace fastoptim
