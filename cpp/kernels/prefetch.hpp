// Software prefetching.
#pragma once

#include "constants.hpp"
#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// The loops prefetch so few elements at a time that the requests, 16 of which can be under way, do not
// hold up the loop. Measured with AVX-512 on 2*10^7 elements, as times as
// fast as without: Adam 1.11, RMSProp 1.09, Momentum 1.13 (two threads), all 1.1 to 1.2 with one;
// with 128 elements at a time 1.05, 1.02, 1.11, though where elements are of fewer bytes 128 are as
// good as 64, and worth 1.1 times (3*10^7 elements, two threads). Distances from 1 to 4 KiB were
// equally fast. Without AVX-512 the loops do not prefetch: one loop over all is as fast, and on a Zen
// processor prefetching made Adam 1.5 times slower.
#ifdef __AVX512F__
constexpr bool prefetches = true;
#else
constexpr bool prefetches = false;
#endif
constexpr int prefetch_elements = 64;
constexpr int prefetch_bytes = 2048;

// Prefetches `bytes` bytes at a distance of prefetch_bytes from x. With to_write it takes ownership of
// the lines (PREFETCHW): a line that another processor's cache holds is given up at once, where a
// store would wait for that. After gradients that NumPy's matrix products computed on two threads, a
// step of 110 000 elements takes 62 us so, and 160 to 220 otherwise; 57 from its own cache. From
// memory it takes 4 % longer so.
//
// In assembly: GCC 12 takes a function that only calls __builtin_prefetch for one without effect,
// and drops it.
inline void prefetch_lines([[maybe_unused]] const void* x, [[maybe_unused]] int bytes,
                           [[maybe_unused]] bool to_write) {
#ifdef __AVX512F__
  const char* const at = static_cast<const char*>(x) + prefetch_bytes;
  for (int k = 0; k < bytes; k += cache_line) {
    if (to_write)
      asm volatile("prefetchw %0" : : "m"(at[k]));
    else
      asm volatile("prefetcht0 %0" : : "m"(at[k]));
  }
#endif
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
