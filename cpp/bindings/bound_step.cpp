#include "bound_step.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <type_traits>

#include "../core/dispatch.hpp"
#include "gil.hpp"

namespace fastoptim {
namespace {

// The name of a rule with the options that select its variant: "rmsprop_centered_momentum".
std::string full_name(const RuleFacts& facts) {
  std::string name = facts.name;
  for (const char* const* option = facts.selected_by; *option; ++option)
    name += std::string("_") + *option;
  return name;
}

const RuleKernels& find_rule(const std::string& name) {
  for (int k = 0; k < kernels().n_rules; ++k)
    if (name == full_name(kernels().rules[k].facts)) return kernels().rules[k];
  throw py::value_error("rule must be one of the compiled ones, got '" + name + "'");
}

[[noreturn]] void refuse_another_thread() {
  throw std::runtime_error(
      "an optimizer must be used by one thread at a time, got another step meanwhile");
}

py::object copy_of(py::handle array) {
  constexpr int keep_order = 2;  // NPY_KEEPORDER
  const auto make = py::detail::npy_api::get().PyArray_NewCopy_;
  PyObject* const copy = without_unwinding([&] { return make(array.ptr(), keep_order); });
  if (!copy) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(copy);
}

// Whether T has the number: neither infinity nor, unless it is 0, 0 in its place.
//
// By the patterns, without a branch, since each step asks it of every coefficient: of magnitudes
// less 1, infinity's and NaN's are the largest, and so is that of 0.
template <class T>
bool fits_into(double x) {
  using Bits = std::conditional_t<sizeof(T) == sizeof(float), std::uint32_t, std::uint64_t>;
  constexpr Bits all = ~Bits(0), magnitude = all >> 1;
  constexpr Bits infinity = all << (std::numeric_limits<T>::digits - 1) & magnitude;
  const T rounded = T(x);
  Bits bits;
  std::uint64_t bits_of_x;
  std::memcpy(&bits, &rounded, sizeof(bits));
  std::memcpy(&bits_of_x, &x, sizeof(bits_of_x));
  return ((bits & magnitude) - 1 < infinity - 1) | (bits_of_x << 1 == 0);
}

template <class T>
bool all_fit(const Coefficients& c) {
  bool all = fits_into<T>(c.l2) & fits_into<T>(c.decay);
  for (double x : c.rule) all &= fits_into<T>(x);
  return all;
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
    : array(std::move(x)),
      data(data_of(array)),
      form(array),
      label(std::move(name)) {}

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
    : uint16_is_bfloat16_(uint16_is_bfloat16),
      t_(t) {
  for (py::handle rule : rules) groups_.push_back(make_group(rule.cast<py::tuple>()));

  std::vector<Region> written;
  items_.resize(tensors.size());  // for good: regions and tensors point into the items
  std::vector<Work> works;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const auto [index, labels, arrays, scales] =
        tensors[i]
            .cast<std::tuple<int, std::vector<std::string>, std::vector<py::object>,
                             std::vector<py::array>>>();
    Group& group = groups_.at(index);
    const std::size_t n_states = group.rule->n_states, n_arrays = 2 + n_states;
    Item& item = items_[i];
    item.group = index;
    item.master = arrays.size() == n_arrays + 1;
    if ((arrays.size() != n_arrays && !item.master) || labels.size() != arrays.size() ||
        (scales.size() != n_states && !scales.empty()))
      throw py::value_error(full_name(group.rule->facts) + " takes " + std::to_string(n_arrays) +
                            " arrays a tensor, got " + std::to_string(arrays.size()));
    item.bound = !arrays[1].is_none();
    for (std::size_t k = 0; k < arrays.size(); ++k)  // until one comes, the parameter stands for g
      item.arrays.emplace_back(
          as_array(k == 1 && !item.bound ? arrays[0] : arrays[k], labels[k], true), labels[k]);

    const Array& parameter = item.arrays[0];
    for (std::size_t k = 0; k < item.arrays.size(); ++k) {
      const Array& x = item.arrays[k];
      const Role role = k == 0           ? Role::parameter
                        : k == 1         ? Role::gradient
                        : k >= n_arrays  ? Role::master
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
    works.push_back({{}, group.rule->sweep[in_float64], 0, int(n_states)});
    works.back().tensor.number = i;
  }
  written_ = Written(std::move(written));
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const Array& gradient = items_[i].arrays[1];
    if (items_[i].bound) written_.check_apart(region_of(gradient.array, gradient.label));
    lay_out(items_[i], gradient.array, items_[i].storages[1], works[i].tensor);
    work_.add(works[i]);
  }
  Cohorts cohorts = make_cohorts(std::vector<Index>(items_.size(), t));
  coefficients_.reserve(cohorts.all.size());
  take_cohorts(std::move(cohorts));
}

BoundStep::Group BoundStep::make_group(const py::tuple& rule) {
  const auto [name, weight_decay, decoupled, maximize, options, option_names] = rule.cast<
      std::tuple<std::string, double, bool, bool, std::vector<double>, std::vector<std::string>>>();
  Group group{&find_rule(name), weight_decay, decoupled, maximize, {}, option_names};
  if (int(options.size()) != group.rule->n_options || option_names.size() != options.size())
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

BoundStep::Cohorts BoundStep::make_cohorts(const std::vector<Index>& counts) const {
  Cohorts cohorts;
  std::map<std::pair<std::size_t, Index>, int> known;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const Cohort cohort{items_[i].group, counts[i]};
    const auto [place, is_new] =
        known.emplace(std::pair(cohort.group, cohort.count), int(cohorts.all.size()));
    if (is_new) cohorts.all.push_back(cohort);
    cohorts.of_tensor.push_back(place->second);
  }
  return cohorts;
}

void BoundStep::take_cohorts(Cohorts&& cohorts) noexcept {
  cohorts_ = std::move(cohorts.all);
  coefficients_.assign(cohorts_.size(), Coefficients{});
  for (std::size_t i = 0; i < items_.size(); ++i) work_[i].group = cohorts.of_tensor[i];
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

void BoundStep::prepare(py::handle lr) {
  const bool shared = PyFloat_Check(lr.ptr());
  if (!shared && py::len(lr) != groups_.size())
    throw py::value_error("lr must be one number, or one a group");
  for (std::size_t k = 0; k < cohorts_.size(); ++k) {
    const Group& group = groups_[cohorts_[k].group];
    const Index t = cohorts_[k].count + 1;
    const double rate = shared ? PyFloat_AS_DOUBLE(lr.ptr())
                               : lr.cast<py::sequence>()[cohorts_[k].group].cast<double>();
    Coefficients& c = coefficients_[k];  // of this step only: a refused one may leave them behind
    c.maximize = group.maximize;
    c.l2 = group.decoupled ? 0 : group.weight_decay;
    c.decay = group.decoupled ? 1 - rate * group.weight_decay : 1;
    c.stochastic = stochastic_;
    c.seed = seed_;
    c.step = std::uint64_t(t);
    c.subnormals = work_.expects_subnormals();
    c.cached = work_.n_elements() < cached_below;
    group.rule->coefficients(group.options, double(t), rate, c.rule);
    check_coefficients(group, rate, c);
  }
}

// Refuses coefficients that the compute type cannot hold: infinity, or 0 in place of a number that
// is none. By the name of an option that does not fit, else by that of the learning rate.
void BoundStep::check_coefficients(const Group& group, double lr, const Coefficients& c) {
  if (group.in_float32 ? all_fit<float>(c) : all_fit<double>(c)) return;
  const auto fits = group.in_float32 ? fits_into<float> : fits_into<double>;
  const auto number = [](double x) { return std::string(py::repr(py::float_(x))); };
  const auto refuse = [&](const std::string& name, double x) {
    throw py::value_error(
        name + " must be 0 or in " +
        (group.in_float32 ? "[1.4e-45, 3.4e+38] in float32" : "[4.9e-324, 1.8e+308] in float64") +
        ", got " + number(x));
  };
  if (!fits(group.weight_decay)) refuse("weight_decay", group.weight_decay);
  for (std::size_t k = 0; k < group.option_names.size(); ++k)
    if (!fits(group.options[k])) refuse(group.option_names[k], group.options[k]);
  if (!fits(lr)) refuse("lr", lr);
  throw py::value_error(std::string("lr and the options must give factors that are finite in ") +
                        (group.in_float32 ? "float32" : "float64") + ", got lr = " + number(lr) +
                        " and weight_decay = " + number(group.weight_decay));
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
  prepare(lr);
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
      throw py::value_error(bound.label + " must be given: no gradient is bound, call step(grads)");
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
  // Counted here and not in Python, where an interrupt could come between.
  for (Cohort& cohort : cohorts_) ++cohort.count;
  ++t_;
}

py::tuple BoundStep::snapshot(const py::sequence& arrays) {
  const Turn turn(*this);
  py::list counts, numbers, copies;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    counts.append(cohorts_[std::size_t(work_[i].group)].count);
    numbers.append(work_[i].tensor.number);
  }
  for (py::handle x : arrays) copies.append(copy_of(x));
  return py::make_tuple(Index(t_), counts, numbers, copies);
}

void BoundStep::commit(const py::sequence& rules, bool stochastic, std::uint64_t seed,
                       const py::object& progress, const py::sequence& copies,
                       const py::sequence& stores) {
  py::list replaced;  // let go of last: a finalizer may look at the optimizer
  const Turn turn(*this, !progress.is_none());

  std::vector<Group> groups;
  for (py::handle rule : rules)
    groups.push_back(changed_group(groups.size(), rule.cast<py::tuple>()));
  if (groups.size() != groups_.size()) throw py::value_error("rules must hold one a group");
  Index t = t_;
  std::vector<std::uint64_t> numbers;
  Cohorts cohorts;
  if (!progress.is_none()) {
    std::vector<Index> counts;
    std::tie(t, counts, numbers) =
        progress.cast<std::tuple<Index, std::vector<Index>, std::vector<std::uint64_t>>>();
    if (counts.size() != items_.size() || numbers.size() != items_.size())
      throw py::value_error("progress must hold one count and one number a tensor");
    cohorts = make_cohorts(counts);
    coefficients_.reserve(cohorts.all.size());
  }
  static const std::string label = "a source";
  std::vector<std::pair<py::array, py::array>> pairs;
  for (py::handle pair : copies) {
    auto [to, from] = pair.cast<std::pair<py::array, py::array>>();
    if (data_of(to) == data_of(from) && Form(to).is_that_of(from)) continue;
    if (written_.shared_with(region_of(from, label))) from = copy_of(from);
    pairs.emplace_back(std::move(to), std::move(from));
  }
  std::vector<std::tuple<py::object, py::object, py::object>> attributes;
  for (py::handle store : stores) {
    attributes.push_back(store.cast<std::tuple<py::object, py::object, py::object>>());
    const auto& [object, name, value] = attributes.back();
    replaced.append(object.attr(name));
  }

  // From here on all is C, which no signal handler interrupts. NumPy's C function: its copyto asks
  // a Python one first. Nothing throws but for want of memory.
  const auto copy = py::detail::npy_api::get().PyArray_CopyInto_;
  if (!pairs.empty()) writing_ = true;  // for good, should a copy fail: until one that does not
  for (const auto& pair : pairs) {
    PyObject *const to = pair.first.ptr(), *const from = pair.second.ptr();
    if (without_unwinding([=] { return copy(to, from); }) < 0) throw py::error_already_set();
  }
  if (!progress.is_none()) writing_ = false;
  for (const auto& [object, name, value] : attributes)
    if (PyObject_GenericSetAttr(object.ptr(), name.ptr(), value.ptr()) < 0)
      throw py::error_already_set();
  groups_ = std::move(groups);
  stochastic_ = stochastic;
  seed_ = seed;
  t_ = t;
  if (progress.is_none()) return;
  take_cohorts(std::move(cohorts));
  for (std::size_t i = 0; i < items_.size(); ++i) work_[i].tensor.number = numbers[i];
}

}  // namespace fastoptim
