#include "arrays.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <optional>

#include "gil.hpp"

namespace fastoptim {
namespace {

std::string text(py::handle x) { return py::str(x); }

std::string shape_text(const py::array& x) { return text(x.attr("shape")); }

// '<' or '>' also counts as native if it is the machine's order: ctypes and struct spell it out. A
// type of one byte has order '|'.
bool is_native(const py::dtype& dtype) {
  static const std::uint16_t one = 1;
  static const bool is_little = *reinterpret_cast<const unsigned char*>(&one) == 1;
  const char order = dtype.byteorder();
  return order == '=' || order == '|' || order == (is_little ? '<' : '>');
}

// The name of a type as its users write it: "list", "pandas.DataFrame", "scipy.sparse.csr_matrix".
std::string full_name(py::handle type) {
  std::string module = text(py::getattr(type, "__module__", py::str("builtins")));
  for (const char* hidden : {"._", ".core"}) module = module.substr(0, module.find(hidden));
  return (module == "builtins" ? "" : module + ".") + text(type.attr("__name__"));
}

// The type of x and, where x holds its elements in another form, how to make an array of it.
std::string type_and_advice(py::handle x) {
  const py::handle type = py::type::handle_of(x);
  if (py::isinstance<py::list>(x) || py::isinstance<py::tuple>(x))
    return full_name(type) + ": np.array(...) makes one of numbers";
  if (py::isinstance<py::dict>(x)) return "dict: a mapping must hold the arrays themselves";
  for (const char* method : {"toarray", "to_numpy"})
    if (py::hasattr(x, method)) return full_name(type) + ": call its " + method + "() first";
  if (py::hasattr(x, "__getitem__") && py::hasattr(x, "shape") && py::hasattr(x, "dtype"))
    return full_name(type) + ": read it into memory first, with [:]";
  return text(type.attr("__name__"));
}

// An array over the memory of an object with __array__, if that needs no copy (a column of pandas,
// say). Calls __array__ twice to find out: if it copies, the two arrays differ in memory.
std::optional<py::array> memory_of(py::handle x, const py::module_& numpy) {
  const auto make = [&] {
    return numpy.attr("array")(x, py::arg("copy") = false, py::arg("subok") = false)
        .cast<py::array>();
  };
  try {
    py::array array = make();
    const py::array again = make();
    if (array.size() == 0 ||
        (data_of(array) == data_of(again) && ArraySignature(array).matches(again)))
      return array;
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;  // an interrupt, say
  }
  return std::nullopt;
}

// NumPy checks the device only of an exported tensor. This check comes first, so that a producer
// need not export one.
void check_device(py::handle x, const std::string& label, const std::string& type) {
  constexpr int cpu = 1, cuda_host = 3, rocm_host = 11;  // DLDeviceType
  const py::object type_and_id = call_method(x, "__dlpack_device__");
  const py::object first = type_and_id[py::int_(0)];
  const long device = PyLong_AsLong(first.ptr());
  if (device == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (device != cpu && device != cuda_host && device != rocm_host)
    throw py::type_error(label + " must lie in the memory of the CPU, got " + type +
                         " on DLPack device " + std::to_string(device));
}

}  // namespace

ArraySignature::ArraySignature(const py::array& x)
    : n_axes_(header(x)->nd),
      extents_and_strides_(x.shape(), x.shape() + n_axes_),
      dtype_(x.dtype()) {
  extents_and_strides_.insert(extents_and_strides_.end(), x.strides(), x.strides() + n_axes_);
}

void ResizeGuard::add(const py::array& x) {
  py::handle next = x;
  do {
    // NumPy resizes only an array that owns its memory, which those over a state's memory do not.
    if (py::detail::check_flags(next.ptr(), py::detail::npy_api::NPY_ARRAY_OWNDATA_)) {
      references_.push_back(
          py::reinterpret_steal<py::object>(PyWeakref_NewRef(next.ptr(), nullptr)));
      if (!references_.back()) throw py::error_already_set();
    }
    next = py::detail::array_proxy(next.ptr())->base;
  } while (next && py::isinstance<py::array>(next));
}

void ResizeGuard::add_base_of(const py::array& x) {
  const py::handle base = py::detail::array_proxy(x.ptr())->base;
  if (base && py::isinstance<py::array>(base)) add(py::reinterpret_borrow<py::array>(base));
}

py::array as_array(py::handle x, const std::string& label, bool keep_subclass) {
  if (is_plain_array(x)) return py::reinterpret_borrow<py::array>(x);
  const py::module_ numpy = py::module_::import("numpy");
  if (py::isinstance<py::array>(x)) {
    if (py::isinstance(x, numpy.attr("ma").attr("MaskedArray")))
      throw py::type_error(label + " must be a plain array, got a masked array");
    if (keep_subclass) return py::reinterpret_borrow<py::array>(x);
    // A subclass may override zeros_like and the like.
    return call_python(numpy.attr("asarray"), x);
  }
  const std::string type = text(py::type::handle_of(x).attr("__name__"));
  try {
    if (has_attribute(x, "__dlpack__")) {
      check_device(x, label, type);
      return call_python(numpy.attr("from_dlpack"), x);
    }
    if (PyObject_CheckBuffer(x.ptr())) {
      const auto view = py::reinterpret_steal<py::object>(PyMemoryView_FromObject(x.ptr()));
      if (!view) throw py::error_already_set();
      return numpy.attr("asarray")(view);
    }
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;  // an interrupt, say
    py::raise_from(
        error, PyExc_TypeError,
        (label + " must be readable in place on the CPU, got " + type + ": " + text(error.value()))
            .c_str());
    throw py::error_already_set();
  }
  if (py::hasattr(x, "__array__"))
    if (const auto array = memory_of(x, numpy)) return *array;
  throw py::type_error(label + " must be an array (NumPy, buffer protocol or DLPack), got " +
                       type_and_advice(x));
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

// NumPy's type numbers, in the order of Storage; for bfloat16 that of uint16.
constexpr int type_numbers[] = {11, 12, 4, 23, 1, 2};

// A short list, which allocates nothing: a check takes 20 ns less.
struct Storages {
  Storages(std::initializer_list<Storage> storages) {
    for (Storage storage : storages) items[n++] = storage;
  }
  const Storage* begin() const { return items; }
  const Storage* end() const { return items + n; }
  std::size_t size() const { return n; }
  Storage operator[](std::size_t k) const { return items[k]; }

  Storage items[4] = {};
  std::size_t n = 0;
};

// The storages that an array may have.
Storages allowed_storages(Role role, Storage parameter) {
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
    list += (k == 0                    ? ""
             : k + 1 < storages.size() ? ", "
                                       : " or ") +
            std::string(storage_names[int(storages[k])]);
  return list;
}

// Whether a dtype is ml_dtypes' bfloat16, which has the type number that NumPy gave it at
// registration.
bool is_bfloat16(const py::dtype& dtype) {
  constexpr int first_user_type = 256;
  static std::atomic<int> known{-1};
  if (dtype.num() < first_user_type) return false;
  if (dtype.num() == known) return true;
  if (dtype.itemsize() != 2 || text(dtype.attr("name")) != "bfloat16") return false;
  known = dtype.num();
  return true;
}

}  // namespace

Storage check_storage(const py::array& x, const std::string& label, Role role, Storage parameter,
                      const std::string& parameter_label, bool uint16_is_bfloat16) {
  const py::dtype dtype = x.dtype();
  const Storages allowed = allowed_storages(role, parameter);
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
  if (role == Role::parameter)
    rule += " in native byte order";
  else if (allowed.size() == 1)
    rule += " like " + parameter_label;
  else
    rule += " for " + parameter_label + " of " + storage_names[int(parameter)];
  std::string fix;
  if (role == Role::gradient && parameter != Storage::bfloat16)
    fix = std::string(": convert it, .astype(np.") + storage_names[int(parameter)] + ")";
  else if (role == Role::parameter && std::strchr("biu", dtype.kind()))
    fix = ": make it of floats before, .astype(np.float64)";
  throw py::type_error(rule + ", got " + text(dtype) + fix);
}

const char* storage_name(Storage storage) { return storage_names[int(storage)]; }

void check_shape(const py::array& x, const std::string& label, const py::array& like) {
  if (same_shape(x, like)) return;
  const bool transposed = x.ndim() == 2 && like.ndim() == 2 && x.shape(0) == like.shape(1) &&
                          x.shape(1) == like.shape(0);
  const char* const fix = transposed ? ": its transpose .T has that shape"
                          : x.size() == like.size()
                              ? ": it has as many elements, reshape it, or sum with keepdims=True"
                          : x.ndim() == 0 ? ": that is a single number, as a loss is"
                                          : "";
  throw py::value_error(label + " must have shape " + shape_text(like) + ", got " + shape_text(x) +
                        fix);
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

}  // namespace fastoptim
