#include "arrays.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace fastoptim {
namespace {

std::string text(py::handle x) { return py::str(x); }

std::string shape_text(const py::array& x) { return text(x.attr("shape")); }

bool share_memory(const py::array& a, const py::array& b) {
  // Exact up to a bound on the work: contrived strides could take exponential time, and are
  // refused as if they shared.
  static constexpr int max_work = 1'000'000;
  const py::module_ numpy = py::module_::import("numpy");
  try {
    return numpy.attr("shares_memory")(a, b, max_work).cast<bool>();
  } catch (py::error_already_set& error) {
    if (!error.matches(numpy.attr("exceptions").attr("TooHardError"))) throw;
    return true;
  }
}

// Spelled out, native order counts as native: ctypes and struct do so. One byte has no order.
bool is_native(const py::dtype& dtype) {
  static const std::uint16_t one = 1;
  static const bool is_little = *reinterpret_cast<const unsigned char*>(&one) == 1;
  const char order = dtype.byteorder();
  return order == '=' || order == '|' || order == (is_little ? '<' : '>');
}

// NumPy looks at the device of the memory that it is handed; asked first, a producer need not
// export it at all.
void check_device(py::handle x, const std::string& label, const std::string& type) {
  constexpr int cpu = 1, cuda_host = 3, rocm_host = 11;  // of DLPack
  const py::object type_and_id = x.attr("__dlpack_device__")();
  const py::object first = type_and_id[py::int_(0)];
  const long device = PyLong_AsLong(first.ptr());
  if (device == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (device != cpu && device != cuda_host && device != rocm_host)
    throw py::type_error(label + " must lie in the memory of the CPU, got " + type +
                         " on DLPack device " + std::to_string(device));
}

}  // namespace

Form::Form(const py::array& x)
    : n_axes_(header(x)->nd), extents_and_strides_(x.shape(), x.shape() + n_axes_),
      dtype_(x.dtype()) {
  extents_and_strides_.insert(extents_and_strides_.end(), x.strides(), x.strides() + n_axes_);
}

py::array as_array(py::handle x, const std::string& label) {
  if (is_array(x)) return py::reinterpret_borrow<py::array>(x);
  const py::module_ numpy = py::module_::import("numpy");
  if (py::isinstance<py::array>(x)) {
    if (py::isinstance(x, numpy.attr("ma").attr("MaskedArray")))
      throw py::type_error(label + " must be a plain array, got a masked array");
    // A subclass may have ideas of its own about zeros_like and the like.
    return numpy.attr("asarray")(x);
  }
  const std::string type = text(py::type::handle_of(x).attr("__name__"));
  try {
    if (py::hasattr(x, "__dlpack__")) {
      check_device(x, label, type);
      return numpy.attr("from_dlpack")(x);
    }
    if (PyObject_CheckBuffer(x.ptr()))
      return numpy.attr("asarray")(py::reinterpret_steal<py::object>(
          PyMemoryView_FromObject(x.ptr())));
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;  // an interrupt, say
    py::raise_from(error, PyExc_TypeError,
                   (label + " must be readable in place on the CPU, got " + type + ": " +
                    text(error.value()))
                       .c_str());
    throw py::error_already_set();
  }
  throw py::type_error(label + " must be an array (NumPy, buffer protocol or DLPack), got " + type);
}

Storage check_dtype(const py::array& x, const std::string& label) {
  const py::dtype dtype = x.dtype();
  if (is_native(dtype)) {
    if (dtype.num() == py::detail::npy_api::NPY_FLOAT_) return Storage::float32;
    if (dtype.num() == py::detail::npy_api::NPY_DOUBLE_) return Storage::float64;
  }
  throw py::type_error(label + " must have dtype float32 or float64 in native byte order, got " +
                       text(dtype));
}

namespace {

constexpr const char* storage_names[] = {"float32", "float64", "bfloat16",
                                         "float16", "int8",    "uint8"};

// NumPy's; for bfloat16 that of uint16.
constexpr int type_numbers[] = {11, 12, 4, 23, 1, 2};

using Storages = std::vector<Storage>;

Storages all_of(Role role, Storage parameter) {
  constexpr auto f32 = Storage::float32, f64 = Storage::float64, bf16 = Storage::bfloat16,
                 f16 = Storage::float16;
  if (role == Role::parameter) return {f32, f64, bf16, f16};
  if (role == Role::master) return {f32};
  if (parameter == f64) return {f64};
  if (role == Role::codes) return {Storage::signed8, Storage::unsigned8};
  if (role == Role::state || parameter == f32) return {f32, bf16, f16};
  return {parameter, f32};
}

std::string names_of(const Storages& storages) {
  std::string list;
  for (std::size_t k = 0; k < storages.size(); ++k)
    list += (k == 0 ? "" : k + 1 < storages.size() ? ", " : " or ") +
            std::string(storage_names[int(storages[k])]);
  return list;
}

// The number under which ml_dtypes, where it is used, registered bfloat16 with NumPy.
bool is_bfloat16(const py::dtype& dtype) {
  constexpr int first_of_users = 256;
  static std::atomic<int> number{-1};
  if (dtype.num() < first_of_users) return false;
  if (dtype.num() == number) return true;
  if (dtype.itemsize() != 2 || text(dtype.attr("name")) != "bfloat16") return false;
  number = dtype.num();
  return true;
}

}  // namespace

Storage check_storage(const py::array& x, const std::string& label, Role role, Storage parameter,
                      const std::string& parameter_label, bool uint16_is_bfloat16) {
  const py::dtype dtype = x.dtype();
  const Storages allowed = all_of(role, parameter);
  const bool native = is_native(dtype);
  for (Storage storage : allowed) {
    if (!native) break;
    if (storage == Storage::bfloat16) {
      if (is_bfloat16(dtype)) return storage;
      if (!uint16_is_bfloat16) continue;
    }
    if (dtype.num() == type_numbers[int(storage)]) return storage;
  }
  std::string rule = label + " must have dtype " + names_of(allowed);
  if (role == Role::parameter) rule += " in native byte order";
  else if (allowed.size() == 1) rule += " like " + parameter_label;
  else rule += " for " + parameter_label + " of " + storage_names[int(parameter)];
  throw py::type_error(rule + ", got " + text(dtype));
}

const char* storage_name(Storage storage) { return storage_names[int(storage)]; }

void check_shape(const py::array& x, const std::string& label, const py::array& like) {
  if (!same_shape(x, like))
    throw py::value_error(label + " must have shape " + shape_text(like) + ", got " +
                          shape_text(x));
}

bool same_shape(const py::array& a, const py::array& b) {
  const Shape x = shape_of(a), y = shape_of(b);
  return x.n_axes == y.n_axes && std::equal(x.extents, x.extents + x.n_axes, y.extents);
}

void check_like(const py::array& x, const std::string& label, const py::array& like,
                const std::string& like_label) {
  if (header(x)->descr != header(like)->descr) {
    const py::dtype got = x.dtype(), expected = like.dtype();
    if (got.num() != expected.num() || !is_native(got))
      throw py::type_error(label + " must have dtype " + text(expected) + " like " + like_label +
                           ", got " + text(got));
  }
  check_shape(x, label, like);
}

void refuse_read_only(const std::string& label) {
  throw py::value_error(label + " must be writable, got a read-only array");
}

void check_updatable(const py::array& x, const std::string& label) {
  if (!is_writable(x)) refuse_read_only(label);
  if (overlaps_itself(shape_of(x), strides_of(x)))
    throw py::value_error(label + " must not overlap itself, got shape " + shape_text(x) +
                          " with strides " + text(x.attr("strides")));
}

Region region_of(const py::array& x, const std::string& label) {
  const Shape shape = shape_of(x);
  const Strides strides = strides_of(x);
  Region region{data_of(x), data_of(x) + strides.item_size, &x, &label};
  for (int axis = 0; axis < shape.n_axes; ++axis) {
    if (shape.extents[axis] == 0) return {data_of(x), data_of(x), &x, &label};
    const Index reach = (shape.extents[axis] - 1) * strides.strides[axis];
    (reach < 0 ? region.begin : region.end) += reach;
  }
  return region;
}

Written::Written(std::vector<Region> regions) : regions_(std::move(regions)) {
  regions_.erase(std::remove_if(regions_.begin(), regions_.end(),
                                [](const Region& r) { return r.begin == r.end; }),
                 regions_.end());
  std::stable_sort(regions_.begin(), regions_.end(),
                   [](const Region& a, const Region& b) { return a.begin < b.begin; });
  std::vector<Region> all;
  all.swap(regions_);
  for (const Region& region : all) {  // each against those that begin before it
    check_apart(region);
    regions_.push_back(region);
    begins_.push_back(region.begin);
    last_end_.push_back(last_end_.empty() ? region.end : std::max(last_end_.back(), region.end));
  }
}

void Written::check_apart(const Region& region) const {
  if (region.begin == region.end) return;
  // How many begin before its end; as std::lower_bound, but without a branch in the loop, which
  // would be guessed wrongly every other time.
  std::size_t k = 0;
  for (std::size_t n = begins_.size(); n > 0;) {
    const std::size_t half = (n + 1) / 2;
    k = begins_[k + half - 1] < region.end ? k + half : k;
    n -= half;
  }
  for (; k > 0 && last_end_[k - 1] > region.begin; --k) {
    const Region& other = regions_[k - 1];
    if (other.end > region.begin && share_memory(*region.array, *other.array))
      throw py::value_error(*region.label + " must not share memory with " + *other.label);
  }
}

}  // namespace fastoptim
