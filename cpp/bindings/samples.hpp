// Arrays as rows of samples along an axis: for the shuffler's bindings.
#pragma once

#include <string>

#include "../shuffle/gather.hpp"
#include "arrays.hpp"

namespace fastoptim {

inline Rows rows_of(const py::array& array, int axis) {
  return Rows(data_of(array), shape_of(array), strides_of(array), axis);
}

// ValueError unless x has n samples along the axis and holds no Python objects. Python has checked
// that, but its checks of the other arguments may have called foreign code, which changed x.
inline void check_samples(const py::array& x, int axis, Index n, const std::string& label) {
  constexpr std::uint64_t has_objects = 1;  // NPY_ITEM_REFCOUNT
  if (axis < 0 || axis >= x.ndim() || x.shape(axis) != n || (x.dtype().flags() & has_objects) != 0)
    throw py::value_error(label + " must stay as it is while a call checks it");
}

}  // namespace fastoptim
