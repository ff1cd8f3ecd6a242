// Checks of arrays before a kernel may use their memory.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "../core/layout.hpp"

namespace fastoptim {

namespace py = pybind11;

// Returns x if it is a NumPy array, else an array over its memory without a copy: a plain view of
// a subclass, or a view by DLPack or the buffer protocol. TypeError if x offers none of these.
//
// keep_subclass: returns an instance of a subclass itself. For arrays that an object keeps: the
// garbage collector can follow a reference to an instance, but not one to a plain view of it,
// because ndarray has no tp_traverse.
py::array as_array(py::handle x, const std::string& label, bool keep_subclass = false);
// Whether x is an ndarray, but of no subclass.
inline bool is_plain_array(py::handle x) {
  return Py_TYPE(x.ptr()) == py::detail::npy_api::get().PyArray_Type_;
}

// TypeError if the array's dtype is neither float32 nor float64.
Storage check_dtype(const py::array& x, const std::string& label);

// What an array is to an optimizer.
enum class Role { parameter, gradient, state, codes, master };

// Returns how an array's elements are stored. TypeError if its dtype is not allowed for its role
// and the parameter's storage. With uint16_is_bfloat16, a uint16 array holds bfloat16 bits.
Storage check_storage(const py::array& x, const std::string& label, Role role,
                      Storage parameter = Storage::float32, const std::string& parameter_label = {},
                      bool uint16_is_bfloat16 = false);

const char* storage_name(Storage storage);

// ValueError if x has another shape than `like`.
void check_shape(const py::array& x, const std::string& label, const py::array& like);

// TypeError or ValueError if x has another dtype or shape than `like`.
void check_like(const py::array& x, const std::string& label, const py::array& like,
                const std::string& like_label);

// ValueError if x is read-only or overlaps itself.
void check_updatable(const py::array& x, const std::string& label);

[[noreturn]] void refuse_read_only(const std::string& label);

inline py::detail::PyArray_Proxy* header(const py::array& x) {
  return py::detail::array_proxy(x.ptr());
}
inline char* data_of(const py::array& x) { return header(x)->data; }
inline bool is_aligned(const py::array& x) {
  return py::detail::check_flags(x.ptr(), py::detail::npy_api::NPY_ARRAY_ALIGNED_);
}
inline bool is_writable(const py::array& x) {
  return py::detail::check_flags(x.ptr(), py::detail::npy_api::NPY_ARRAY_WRITEABLE_);
}
inline Shape shape_of(const py::array& x) {
  return {header(x)->nd, reinterpret_cast<const Index*>(header(x)->dimensions)};
}
inline Strides strides_of(const py::array& x) {
  return {reinterpret_cast<const Index*>(header(x)->strides), Index(x.itemsize())};
}

// Whether an array of as many axes has these extents, then these strides. Inline and without memcmp: a
// step asks it of every array, and most have one axis or two.
inline bool has_extents_and_strides(const py::detail::PyArray_Proxy& x, const Index* seen) {
  for (int axis = 0; axis < x.nd; ++axis)
    if (x.dimensions[axis] != seen[axis] || x.strides[axis] != seen[x.nd + axis]) return false;
  return true;
}

// The dtype, shape and strides of an array.
class ArraySignature {
 public:
  ArraySignature() = default;  // matches no array
  explicit ArraySignature(const py::array& x);

  bool matches(const py::array& x) const {
    const py::detail::PyArray_Proxy& now = *header(x);
    return static_cast<const void*>(now.descr) == dtype_.ptr() && now.nd == n_axes_ &&
           has_extents_and_strides(now, extents_and_strides_.data());
  }

 private:
  int n_axes_ = -1;
  std::vector<Index> extents_and_strides_;
  py::object dtype_;
};
bool same_shape(const py::array& a, const py::array& b);

// RAII: keeps NumPy from resizing the arrays that were added, and their bases, while something else
// uses their memory. It holds weak references: NumPy refuses to resize an array that has one, even
// with refcheck=False; an exported buffer would not stop it.
class ResizeGuard {
 public:
  void add(const py::array& x);
  void add_base_of(const py::array& x);  // not x itself

 private:
  std::vector<py::object> references_;
};

}  // namespace fastoptim
