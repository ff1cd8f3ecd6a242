// The parts of the extension module that have files of their own.
#pragma once

#include <pybind11/pybind11.h>

namespace fastoptim {

void bind_permutation(pybind11::module_& m);  // Seed, Permutation, shuffle
void bind_threads(pybind11::module_& m);      // threads, back ends, loaded objects
void bind_batches(pybind11::module_& m);      // Batches, Pass

}  // namespace fastoptim
