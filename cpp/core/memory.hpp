// Allocates memory for states and batches, placed for fast sequential access.
#pragma once

#include <cstddef>

namespace fastoptim {

// Uninitialised memory, aligned to a cache line, on huge pages from 8 MiB on. Release it with
// std::free. Throws std::bad_alloc.
char* allocate(std::size_t size);

// Uninitialised memory for state number `slot` of a tensor. Release it with std::free(base).
struct StateMemory {
  char* base;
  char* data;  // aligned to a cache line
};
StateMemory allocate_state(std::size_t size, int slot);

}  // namespace fastoptim
