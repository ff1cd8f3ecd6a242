// Memory for states, placed so that a step can stream through it.
#pragma once

#include <cstddef>

namespace fastoptim {

// Uninitialised memory for the state number `slot` of a tensor; release with std::free(base).
struct Placed {
  void* base;
  char* data;  // aligned to a cache line
};

Placed allocate_state(std::size_t size, int slot);  // throws std::bad_alloc

}  // namespace fastoptim
