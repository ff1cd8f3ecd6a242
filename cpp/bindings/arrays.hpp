// The boundary: what an array must be before a kernel may touch it.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "../core/layout.hpp"

namespace fastoptim {

namespace py = pybind11;

// x itself if it is a NumPy array, else its memory, without a copy: the plain array under a
// subclass, or what DLPack or the buffer protocol shows. TypeError if there is no such way.
//
// keep_subclass: an instance of a subclass is returned as it is. For arrays that an object keeps:
// the garbage collector sees through a reference to an instance, and not through one to a plain
// view of it, since ndarray has no tp_traverse.
py::array as_array(py::handle x, const std::string& label, bool keep_subclass = false);
inline bool is_array(py::handle x) {  // and of no subclass
  return Py_TYPE(x.ptr()) == py::detail::npy_api::get().PyArray_Type_;
}

// TypeError if the array's dtype is neither float32 nor float64.
Storage check_dtype(const py::array& x, const std::string& label);

// What an array of an optimizer is: the parameter, or what goes with one.
enum class Role { parameter, gradient, state, codes, master };

// How an array's elements are stored. TypeError if its dtype does not go with its role and the
// parameter's storage. With uint16_is_bfloat16 a uint16 array holds bfloat16 patterns.
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

// The bytes from the first to the last that an array's elements occupy.
struct Region {
  const char* begin;
  const char* end;
  const py::array* array;
  const std::string* label;
};
Region region_of(const py::array& x, const std::string& label);

// The arrays that a step writes; no two share memory, and no gradient shares any with them.
class Written {
 public:
  Written() = default;
  explicit Written(std::vector<Region> regions);  // ValueError if two of them share memory
  void check_apart(const Region& region) const;

  // One of them that shares memory with a region, or null.
  const Region* shared_with(const Region& region) const;

 private:
  std::vector<Region> regions_;        // by begin
  std::vector<const char*> begins_;    // theirs
  std::vector<const char*> last_end_;  // of all regions up to here
};

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

// What an array's header says of its elements, but where they lie.
class Form {
 public:
  Form() = default;  // that of no array
  explicit Form(const py::array& x);

  // Inline, and no call of memcmp for each: a step asks it of every array, and most have one axis
  // or two.
  bool is_that_of(const py::array& x) const {
    const py::detail::PyArray_Proxy& now = *header(x);
    if (now.descr != dtype_.ptr() || now.nd != n_axes_) return false;
    const Index* const seen = extents_and_strides_.data();
    for (int axis = 0; axis < n_axes_; ++axis)
      if (now.dimensions[axis] != seen[axis] || now.strides[axis] != seen[n_axes_ + axis])
        return false;
    return true;
  }

 private:
  int n_axes_ = -1;
  std::vector<Index> extents_and_strides_;
  py::object dtype_;
};
bool same_shape(const py::array& a, const py::array& b);

// While it lives, NumPy refuses to resize the arrays that were added, and those whose memory they
// show: it does so for any that has a weak reference, even with refcheck=False. For as long as their
// memory is used without the GIL; a buffer that is exported does not stop it.
class Pinned {
 public:
  void add(const py::array& x);

 private:
  std::vector<py::object> references_;
};

}  // namespace fastoptim
