#include "recent_steps.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "gil.hpp"
#include "write_set.hpp"

namespace fastoptim {
namespace {

using py::detail::npy_api;

constexpr int aligned = npy_api::NPY_ARRAY_ALIGNED_;
constexpr int aligned_and_writable = aligned | npy_api::NPY_ARRAY_WRITEABLE_;

// What checks.MAX_STEPS is. A count beyond it is left to the check in full.
constexpr long long max_steps = 1ll << 53;

// numpy.float64, of which a schedule makes learning rates: the only subclass of float that is known
// to be its value.
PyTypeObject* float64_type() {
  static PyTypeObject* const type = reinterpret_cast<PyTypeObject*>(
      py::object(py::dtype::of<double>().attr("type")).release().ptr());
  return type;
}

// The fields of a dtype that every version of NumPy has at the same place.
const py::detail::PyArrayDescr_Proxy& dtype_of(const py::detail::PyArray_Proxy& x) {
  return *py::detail::array_descriptor_proxy(x.descr);
}

bool is_float(PyObject* x) { return PyFloat_CheckExact(x) || Py_TYPE(x) == float64_type(); }

py::array borrowed(PyObject* x) { return py::reinterpret_borrow<py::array>(x); }

}  // namespace

Header::Header(const py::array& x, int flags)
    : flags_mask_(flags),
      flags_(header(x)->flags & flags),
      n_axes_(header(x)->nd),
      type_number_(dtype_of(*header(x)).type_num),
      byte_order_(dtype_of(*header(x)).byteorder),
      extents_and_strides_(x.shape(), x.shape() + n_axes_) {
  extents_and_strides_.insert(extents_and_strides_.end(), x.strides(), x.strides() + n_axes_);
}

bool Header::matches(const py::array& x) const {
  const py::detail::PyArray_Proxy& now = *header(x);
  return (now.flags & flags_mask_) == flags_ && now.nd == n_axes_ &&
         dtype_of(now).type_num == type_number_ && dtype_of(now).byteorder == byte_order_ &&
         has_extents_and_strides(now, extents_and_strides_.data());
}

bool OptionValues::add(PyObject* x) {
  if (n_ + 3 > int(values_.size())) return false;
  if (PyTuple_CheckExact(x)) {
    if (PyTuple_GET_SIZE(x) != 2) return false;
    values_[std::size_t(n_++)] = {'(', 0};
    for (Py_ssize_t k = 0; k < 2; ++k)
      if (PyTuple_CheckExact(PyTuple_GET_ITEM(x, k)) || !add(PyTuple_GET_ITEM(x, k))) return false;
    return true;
  }
  Value& value = values_[std::size_t(n_)];
  if (is_float(x)) {
    value.kind = 'f';
    const double number = PyFloat_AS_DOUBLE(x);
    std::memcpy(&value.bits, &number, sizeof(number));
  } else if (PyBool_Check(x)) {
    value = {'b', x == Py_True};
  } else if (x == Py_None) {
    value = {'n', 0};
  } else if (PyLong_CheckExact(x)) {
    int overflow = 0;
    value = {'i', std::uint64_t(PyLong_AsLongLongAndOverflow(x, &overflow))};
    if (overflow) return false;
  } else {
    return false;
  }
  ++n_;
  return true;
}

bool OptionValues::operator==(const OptionValues& other) const {
  return n_ == other.n_ && std::equal(values_.begin(), values_.begin() + n_, other.values_.begin(),
                                      [](const Value& a, const Value& b) {
                                        return a.kind == b.kind && a.bits == b.bits;
                                      });
}

RecentStep::RecentStep(const FunctionCall& call, const OptionValues& options,
                       const RuleGroup& group, const Work& work, const Layout& layout,
                       Origin origin)
    : function_(call.function),
      options_(options),
      group_(group),
      layout_(layout),
      present_(0),
      gradient_(borrowed(call.arrays[1]), aligned) {
  static const std::string no_label;
  Work own = work;
  own.coefficients = 0;
  own.tensor.extents = layout_.extents.data();
  int operand = 0;
  for (int k = 0; k < call.n_arrays; ++k) {
    if (call.arrays[k] == Py_None) continue;
    present_ |= 1u << k;
    Operand& x = own.tensor.operands[operand];
    if (x.strides) x.strides = layout_.strides[std::size_t(operand)].data();
    ++operand;
    const py::array array = borrowed(call.arrays[k]);
    const Region region = region_of(array, no_label);
    if (k == 1) {
      bytes_before_ = data_of(array) - region.begin;
      bytes_after_ = region.end - data_of(array);
    } else {
      written_.push_back(
          {data_of(array), region.begin, region.end, Header(array, aligned_and_writable)});
    }
  }
  work_.add(own);
  work_.set_origin(origin);
}

bool RecentStep::writes_same(const FunctionCall& call) const {
  if (call.function != function_) return false;
  const Written* written = written_.data();
  for (int k = 0; k < call.n_arrays; ++k) {
    PyObject* const x = call.arrays[k];
    if ((x != Py_None) != (present_ >> k & 1)) return false;
    if (k == 1 || x == Py_None) continue;
    const py::array array = borrowed(x);
    if (data_of(array) != written->data || !written->header.matches(array)) return false;
    ++written;
  }
  return true;
}

bool RecentStep::set_gradient(const py::array& x) {
  if (!gradient_.matches(x)) return false;
  char* const data = data_of(x);
  Operand& gradient = work_[0].tensor.operands[1];
  if (data == gradient.data) return true;
  for (const Written& written : written_)
    if (data - bytes_before_ < written.end && written.begin < data + bytes_after_) return false;
  gradient.data = data;
  return true;
}

void RecentStep::run(const FunctionCall& call, double lr, Index t, bool stochastic,
                     std::uint64_t seed) {
  Coefficients c{};
  c.stochastic = stochastic;
  c.seed = seed;
  c.step = std::uint64_t(t);
  c.subnormals = work_.expects_subnormals();
  c.cached = work_.n_elements() < cached_below_elements;
  group_.set_coefficients(lr, t, c);
#ifndef Py_GIL_DISABLED
  if (work_.n_elements() < keep_gil_below_elements) return work_.run_step(&c);
#endif
  ResizeGuard guard;  // another thread might resize what the arrays are views of
  for (int k = 0; k < call.n_arrays; ++k)
    if (call.arrays[k] != Py_None) guard.add_base_of(borrowed(call.arrays[k]));
  const ReleaseGil released;
  work_.run_step(&c);
}

RecentSteps& RecentSteps::of_this_thread() {
  thread_local std::unique_ptr<RecentSteps> steps;
  if (!steps) steps = std::make_unique<RecentSteps>();
  return *steps;
}

RecentSteps::Set& RecentSteps::set_of(const FunctionCall& call) {
  // The top bits of the product depend on all bits of the address; malloc makes the low ones alike.
  const auto address = reinterpret_cast<std::uintptr_t>(data_of(borrowed(call.arrays[0])));
  return sets_[std::size_t(std::uint64_t(address) * 0x9E3779B97F4A7C15u >> 58)];
}

RecentStep* RecentSteps::find(const FunctionCall& call) {
  static_assert(n_sets == 1 << (64 - 58));
  Set& set = set_of(call);
  for (auto step = set.begin(); step != set.end() && *step; ++step) {
    if (!(*step)->writes_same(call)) continue;
    std::rotate(set.begin(), step, step + 1);
    return set.front().get();
  }
  return nullptr;
}

void RecentSteps::keep(const FunctionCall& call, std::unique_ptr<RecentStep> step) {
  Set& set = set_of(call);
  if (!find(call)) std::rotate(set.begin(), set.end() - 1, set.end());
  set.front() = std::move(step);
}

// Takes the arguments function, n_arrays, t, lr, seed, rounding, the arrays, the options. Returns
// False, with nothing done, for a call that must be checked in full: whatever is not exactly what it
// was at a call that was accepted. So this function refuses nothing itself, but for a learning rate
// that the compute type cannot represent, as every step does.
PyObject* repeat_step(PyObject*, PyObject* const* args, Py_ssize_t n_args) {
  return translate_exceptions([&]() -> PyObject* {
    constexpr int n_before = 6;
    if (n_args < n_before) throw py::type_error("repeat_step takes at least six arguments");
    const auto small_integer = [](PyObject* x) { return int(PyLong_AsLong(x)); };
    const FunctionCall call{small_integer(args[0]), args + n_before, small_integer(args[1])};
    if (PyErr_Occurred()) throw py::error_already_set();
    if (call.n_arrays < 2 || call.n_arrays > max_operands || n_before + call.n_arrays > n_args)
      throw py::type_error("repeat_step takes 2 to " + std::to_string(max_operands) + " arrays");

    PyObject *const t_object = args[2], *const lr_object = args[3], *const seed_object = args[4],
                    *const rounding = args[5];
    const auto check_in_full = [] { return py::bool_(false).release().ptr(); };
    for (int k = 0; k < call.n_arrays; ++k)
      if (!is_plain_array(call.arrays[k]) && (k < 2 || call.arrays[k] != Py_None))
        return check_in_full();
    if (!PyLong_CheckExact(t_object) || !is_float(lr_object) || !PyLong_CheckExact(seed_object) ||
        !PyUnicode_CheckExact(rounding))
      return check_in_full();
    int overflow = 0;
    const long long t = PyLong_AsLongLongAndOverflow(t_object, &overflow);
    const double lr = PyFloat_AS_DOUBLE(lr_object) + 0.0;  // makes 0.0 of -0.0
    const long long seed = PyLong_AsLongLongAndOverflow(seed_object, &overflow);
    if (overflow || t < 1 || t > max_steps || seed < 0 || !(lr >= 0) || std::isinf(lr))
      return check_in_full();
    const bool stochastic = PyUnicode_CompareWithASCIIString(rounding, "stochastic") == 0;
    if (!stochastic && PyUnicode_CompareWithASCIIString(rounding, "nearest") != 0)
      return check_in_full();

    RecentStep* const step = RecentSteps::of_this_thread().find(call);
    if (!step) return check_in_full();
    OptionValues options;
    for (Py_ssize_t k = n_before + call.n_arrays; k < n_args; ++k)
      if (!options.add(args[k])) return check_in_full();
    if (!step->has_options(options) || !step->set_gradient(borrowed(call.arrays[1])))
      return check_in_full();
    step->run(call, lr, Index(t), stochastic, std::uint64_t(seed));
    return py::bool_(true).release().ptr();
  });
}

}  // namespace fastoptim
