// Finds out which library's memory an array shows.
#pragma once

#include "../core/parallel.hpp"
#include "arrays.hpp"

namespace fastoptim {

// Of an array that a user gave, or that as_array made of something else. It is torch if the array
// shows the memory of a torch.Tensor, by tensor.numpy() or by DLPack.
Origin origin_of(const py::array& x);

}  // namespace fastoptim
