// Memory placed so that it can be streamed through: for states and for batches.
#pragma once

#include <cstddef>

namespace fastoptim {

// Uninitialised memory, aligned to a cache line, on huge pages where it is large; release with
// std::free. Throws std::bad_alloc.
char* allocate(std::size_t size);

// Uninitialised memory for the state number `slot` of a tensor; release with std::free(base).
struct Placed {
  char* base;
  char* data;  // aligned to a cache line
};
Placed allocate_state(std::size_t size, int slot);

}  // namespace fastoptim
