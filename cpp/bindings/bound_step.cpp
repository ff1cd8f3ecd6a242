#include "bound_step.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>

#include "../dispatch.hpp"
#include "gil.hpp"

namespace fastoptim {
namespace {

const RuleKernels& find_rule(const std::string& name) {
  for (int k = 0; k < kernels().n_rules; ++k)
    if (name == kernels().rules[k].name) return kernels().rules[k];
  throw py::value_error("rule must be one of the compiled ones, got '" + name + "'");
}

[[noreturn]] void refuse_another_thread() {
  throw std::runtime_error(
      "an optimizer must be used by one thread at a time, got another step meanwhile");
}

// Below this many elements the step is over sooner than another thread could take the GIL.
constexpr Index keep_gil_below = 4096;

}  // namespace

// One thread at a time; the others are told so, since waiting would hide the mistake. A thread that
// held the turn at a fork does not exist in the child, which goes on from what it left: nothing is
// wrong with that unless it was writing.
class BoundStep::Turn {
 public:
  explicit Turn(BoundStep& step, bool mends = false) : holder_(step.holder_) {
    const unsigned own = forks() + 1;
    unsigned holder = 0;
    while (!holder_.compare_exchange_strong(holder, own))
      if (holder == own) refuse_another_thread();
    if (step.writing_ && !mends) {
      holder_ = 0;
      throw std::runtime_error(
          "an optimizer must be whole, got one whose step or load was cut off halfway (by a fork "
          "while another thread was in it): write saved values into its parameters and call "
          "load_state_dict, or make a new optimizer");
    }
  }
  ~Turn() { holder_ = 0; }
  Turn(const Turn&) = delete;

 private:
  std::atomic<unsigned>& holder_;
};

BoundStep::Array::Array(py::array x, std::string name)
    : array(std::move(x)), data(data_of(array)), form(array), label(std::move(name)) {}

[[noreturn]] void BoundStep::Array::refuse_changed() const {
  throw py::value_error(label +
                        " must stay the array that it was when it was bound, got one whose "
                        "size, shape, strides or dtype was changed");
}

inline void BoundStep::Array::check_unchanged() const {
  if (data_of(array) != data || !form.is_that_of(array)) refuse_changed();
}

inline void BoundStep::Array::check_written() const {
  check_unchanged();
  if (!is_writable(array)) refuse_read_only(label);
}

BoundStep::BoundStep(const py::sequence& rules, const py::sequence& tensors, Index t,
                     bool uint16_is_bfloat16)
    : uint16_is_bfloat16_(uint16_is_bfloat16), t_(t) {
  for (py::handle rule : rules) groups_.push_back(make_group(rule.cast<py::tuple>()));
  coefficients_.resize(groups_.size());

  std::vector<Region> written;
  items_.resize(tensors.size());  // for good: regions and tensors point into the items
  std::vector<Work> works;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const auto [index, labels, arrays, scales] =
        tensors[i].cast<std::tuple<int, std::vector<std::string>, std::vector<py::object>,
                                   std::vector<py::array>>>();
    Group& group = groups_.at(index);
    const std::size_t n_states = group.rule->n_states, n_arrays = 2 + n_states;
    Item& item = items_[i];
    item.master = arrays.size() == n_arrays + 1;
    if ((arrays.size() != n_arrays && !item.master) || labels.size() != arrays.size() ||
        (scales.size() != n_states && !scales.empty()))
      throw py::value_error(std::string(group.rule->name) + " takes " + std::to_string(n_arrays) +
                            " arrays a tensor, got " + std::to_string(arrays.size()));
    item.bound = !arrays[1].is_none();
    for (std::size_t k = 0; k < arrays.size(); ++k)  // until one comes, the parameter stands for g
      item.arrays.emplace_back(
          as_array(k == 1 && !item.bound ? arrays[0] : arrays[k], labels[k]), labels[k]);

    const Array& parameter = item.arrays[0];
    for (std::size_t k = 0; k < item.arrays.size(); ++k) {
      const Array& x = item.arrays[k];
      const Role role = k == 0         ? Role::parameter
                        : k == 1       ? Role::gradient
                        : k >= n_arrays ? Role::master
                        : scales.empty() ? Role::state
                                         : Role::codes;
      item.storages.push_back(check_storage(x.array, x.label, role,
                                            k ? item.storages[0] : Storage::float32,
                                            parameter.label, uint16_is_bfloat16_));
      if (k > 0) check_shape(x.array, x.label, parameter.array);
      if (k == 1) continue;
      check_updatable(x.array, x.label);
      written.push_back(region_of(x.array, x.label));
    }
    for (std::size_t k = 0; k < scales.size(); ++k)
      item.scales.emplace_back(scales[k], "the scales of " + labels[2 + k]);
    for (const Array& x : item.scales) {
      const Index n_blocks = (parameter.array.size() + q8_block - 1) / q8_block;
      if (check_storage(x.array, x.label, Role::codes) != Storage::unsigned8 ||
          x.array.ndim() != 1 || x.array.size() != n_blocks ||
          (n_blocks > 1 && x.array.strides(0) != 1))
        throw py::value_error(x.label + " must be " + std::to_string(n_blocks) + " bytes in a row");
      written.push_back(region_of(x.array, x.label));
    }
    item.bound_storage = item.storages[1];
    const bool in_float64 = item.storages[0] == Storage::float64;
    if (!in_float64) group.in_float32 = true;
    works.push_back({{}, group.rule->sweep[in_float64], index, int(n_states)});
    works.back().tensor.number = i;
  }
  written_ = Written(std::move(written));
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const Array& gradient = items_[i].arrays[1];
    if (items_[i].bound) written_.check_apart(region_of(gradient.array, gradient.label));
    lay_out(items_[i], gradient.array, items_[i].storages[1], works[i].tensor);
    work_.add(works[i]);
  }
}

BoundStep::Group BoundStep::make_group(const py::tuple& rule) {
  const auto [name, weight_decay, decoupled, maximize, options] =
      rule.cast<std::tuple<std::string, double, bool, bool, std::vector<double>>>();
  Group group{&find_rule(name), weight_decay, decoupled, maximize, {}};
  if (int(options.size()) != group.rule->n_options)
    throw py::value_error(name + " takes " + std::to_string(group.rule->n_options) +
                          " options, got " + std::to_string(options.size()));
  std::copy(options.begin(), options.end(), group.options);
  return group;
}

BoundStep::Group BoundStep::changed_group(std::size_t index, const py::tuple& rule) const {
  Group changed = make_group(rule);
  const Group& group = groups_.at(index);
  if (changed.rule != group.rule) throw py::value_error("a group must keep its kernel");
  changed.in_float32 = group.in_float32;
  return changed;
}

void BoundStep::set_rule(std::size_t index, const py::tuple& rule) {
  const Turn turn(*this);
  groups_[index] = changed_group(index, rule);
}

void BoundStep::set_rounding(bool stochastic, std::uint64_t seed) {
  const Turn turn(*this);
  stochastic_ = stochastic;
  seed_ = seed;
}

void BoundStep::lay_out(Item& item, const py::array& grad, Storage storage, Tensor& tensor) {
  item.storages[1] = storage;
  item.grad_form = Form();  // until all is done: memory may run out on the way
  // The rule works on the master, where there is one, and the parameter is a copy.
  const std::size_t worked_on = item.master ? item.arrays.size() - 1 : 0;
  std::vector<const py::array*> arrays;
  std::vector<Strides> strides;
  for (const Array& x : item.arrays) {
    arrays.push_back(arrays.size() == 1 ? &grad : &x.array);
    strides.push_back(strides_of(*arrays.back()));
  }
  item.layout = make_layout(shape_of(*arrays[0]), strides);
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    const bool plain = is_aligned(*arrays[k]) && item.layout.contiguous(k, strides[k].item_size);
    Operand& operand = k == worked_on ? tensor.operands[0]
                       : k == 0       ? tensor.copy
                                      : tensor.operands[k];
    operand = {data_of(*arrays[k]), plain ? nullptr : item.layout.strides[k].data(),
               item.storages[k], nullptr};
  }
  for (std::size_t k = 0; k < item.scales.size(); ++k)
    tensor.operands[2 + k].scales = reinterpret_cast<std::uint8_t*>(data_of(item.scales[k].array));
  tensor.extents = item.layout.extents.data();
  tensor.n_axes = int(item.layout.extents.size());
  tensor.size = item.layout.size;
  item.grad_form = Form(grad);
  item.grad_aligned = is_aligned(grad);
  const Region region = region_of(grad, item.arrays[1].label);
  item.grad_before = data_of(grad) - region.begin;
  item.grad_after = region.end - data_of(grad);
}

void BoundStep::prepare(Index t, py::handle lr) {
  const bool shared = PyFloat_Check(lr.ptr());
  if (!shared && py::len(lr) != groups_.size())
    throw py::value_error("lr must be one number, or one a group");
  for (std::size_t k = 0; k < groups_.size(); ++k) {
    const Group& group = groups_[k];
    const double rate =
        shared ? PyFloat_AS_DOUBLE(lr.ptr()) : lr.cast<py::sequence>()[k].cast<double>();
    Coefficients& c = coefficients_[k];  // of this step only: a refused one may leave them behind
    c = {group.maximize, group.decoupled ? 0 : group.weight_decay,
         group.decoupled ? 1 - rate * group.weight_decay : 1, {}, stochastic_, seed_,
         std::uint64_t(t), work_.expects_subnormals(), work_.n_elements() < cached_below};
    group.rule->coefficients(group.options, double(t), rate, c.rule);
    const auto fits = [&](double x) {
      return group.in_float32 ? std::isfinite(float(x)) : std::isfinite(x);
    };
    if (!fits(c.l2) || !fits(c.decay) || !std::all_of(c.rule, c.rule + max_coefficients, fits))
      throw py::value_error(
          std::string("lr and the options must give factors that are finite in ") +
          (group.in_float32 ? "float32" : "float64") + ", got lr = " +
          std::string(py::repr(py::float_(rate))) + " and weight_decay = " +
          std::string(py::repr(py::float_(group.weight_decay))));
  }
}

void BoundStep::take(py::handle grads) {
  const auto list = py::reinterpret_borrow<py::sequence>(grads);
  if (list.size() != items_.size())
    throw py::value_error("grads must hold " + std::to_string(items_.size()) + " arrays, got " +
                          std::to_string(list.size()));
  // All of them first: what runs in a __dlpack__ must not come between a check and its use.
  for (std::size_t i = 0; i < items_.size(); ++i)
    fresh_.push_back({as_array(list[i], items_[i].arrays[1].label), {}, false});
  // Such a __dlpack__ may have forked, and the child have taken another step in it.
  if (fresh_.size() != items_.size()) refuse_another_thread();
}

void BoundStep::check(const Item& item, Fresh& grad) const {
  const Array &parameter = item.arrays[0], &bound = item.arrays[1];
  grad.like_last =
      item.grad_form.is_that_of(grad.array) && item.grad_aligned == is_aligned(grad.array);
  if (grad.like_last) {
    char* const data = data_of(grad.array);
    written_.check_apart(
        {data - item.grad_before, data + item.grad_after, &grad.array, &bound.label});
  } else {
    grad.storage = check_storage(grad.array, bound.label, Role::gradient, item.storages[0],
                                 parameter.label, uint16_is_bfloat16_);
    check_shape(grad.array, bound.label, parameter.array);
    written_.check_apart(region_of(grad.array, bound.label));
  }
}

void BoundStep::run(py::handle lr, py::handle grads, py::handle t) {
  const Turn turn(*this);
  const bool given = !grads.is_none();

  // Let go of at the end: the optimizer keeps no gradient alive.
  struct Cleared {
    std::vector<Fresh>& list;
    ~Cleared() { list.clear(); }
  } const cleared{fresh_};
  fresh_.clear();  // of a step that a fork cut off
  if (given) take(grads);

  if (!t.is_none() && t.cast<Index>() != t_) refuse_another_thread();
  prepare(t_ + 1, lr);
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const Item& item = items_[i];
    const Array& bound = item.arrays[1];
    for (const Array& x : item.arrays)
      if (&x != &bound) x.check_written();
    for (const Array& x : item.scales) x.check_written();
    if (given)
      check(item, fresh_[i]);
    else if (item.bound)
      bound.check_unchanged();
    else
      throw py::value_error(bound.label + " must be given: no gradient is bound");
  }
  // Nothing below throws but for want of memory, and that before a step begins.
  if (given || !bound_in_use_) {
    bound_in_use_ = false;  // not before all of them are, should memory run out halfway
    for (std::size_t i = 0; i < items_.size(); ++i) {
      Tensor& tensor = work_[i].tensor;
      const Array& bound = items_[i].arrays[1];
      if (!given)
        lay_out(items_[i], bound.array, items_[i].bound_storage, tensor);
      else if (fresh_[i].like_last)
        tensor.operands[1].data = data_of(fresh_[i].array);
      else
        lay_out(items_[i], fresh_[i].array, fresh_[i].storage, tensor);
    }
    bound_in_use_ = !given;
  }

  if (work_.n_elements() < keep_gil_below) {
    work_.run(coefficients_.data());
  } else {
    // Changed with the GIL held, so that a fork from Python does not come between.
    writing_ = true;
    {
      const ReleaseGil released;
      work_.run(coefficients_.data());
    }
    writing_ = false;
  }
  ++t_;  // here and not in Python, where an interrupt could come between
}

py::tuple BoundStep::snapshot(const py::sequence& arrays) {
  const Turn turn(*this);
  constexpr int keep_order = 2;  // NPY_KEEPORDER
  py::list copies;
  for (py::handle x : arrays) {
    const auto make = py::detail::npy_api::get().PyArray_NewCopy_;
    PyObject* const copy = without_unwinding([&] { return make(x.ptr(), keep_order); });
    if (!copy) throw py::error_already_set();
    copies.append(py::reinterpret_steal<py::object>(copy));
  }
  return py::make_tuple(Index(t_), copies);
}

void BoundStep::restore(Index t, const py::sequence& rules, const py::sequence& copies,
                        bool stochastic, std::uint64_t seed) {
  const Turn turn(*this, true);
  std::vector<Group> groups;
  for (py::handle rule : rules)
    groups.push_back(changed_group(groups.size(), rule.cast<py::tuple>()));
  // NumPy's C function: its copyto asks a Python one first, where an interrupt could come.
  const auto copy = py::detail::npy_api::get().PyArray_CopyInto_;
  writing_ = true;  // for good, should a copy fail: until the next one that does not
  for (py::handle pair : copies) {
    const auto [to, from] = pair.cast<std::pair<py::array, py::array>>();
    const auto copy_pair = [copy, to = to.ptr(), from = from.ptr()] { return copy(to, from); };
    if (without_unwinding(copy_pair) < 0) throw py::error_already_set();
  }
  writing_ = false;
  groups_ = std::move(groups);
  stochastic_ = stochastic;
  seed_ = seed;
  t_ = t;
}

}  // namespace fastoptim
