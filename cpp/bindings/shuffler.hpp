// What Python sees of the shuffler.
#pragma once

#include <pybind11/pybind11.h>

namespace fastoptim {

void bind_shuffler(pybind11::module_& m);

}  // namespace fastoptim
