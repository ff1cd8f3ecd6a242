#include "memory.hpp"

#include <cstdlib>
#include <new>

#include "../kernels/constants.hpp"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace fastoptim {
namespace {

// Avoids 4K aliasing: a load whose address equals that of an earlier store in the low 12 bits waits
// for that store. Large arrays otherwise all start at the same offset in a page (NumPy's 16 bytes
// after its start), so the states of a tensor are offset by a quarter of a page from each other.
// Measured: Adam in float32 on 10^7 elements and one thread takes 0.58 ns an element with the
// offsets and 0.73 without.
constexpr std::size_t state_offset = page / 4;
constexpr std::size_t min_size_with_offset = 4 * page;

// Huge pages save page-table walks (0.64 ns instead of 0.73 in the case above without offsets), but
// waste the unused part of the last one: from this size on, at most a quarter of the memory.
constexpr std::size_t min_size_on_huge_pages = 4 * huge_page;

std::size_t round_up(std::size_t size, std::size_t unit) { return (size + unit - 1) / unit * unit; }

}  // namespace

char* allocate(std::size_t size) {
  const std::size_t alignment = size >= min_size_on_huge_pages ? huge_page
                                : size >= page                 ? page
                                                               : cache_line;
  const std::size_t rounded = round_up(size + (size == 0), alignment);
  void* const memory = std::aligned_alloc(alignment, rounded);
  if (!memory) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  // A hint: without huge pages the memory works as well, only slower.
  if (alignment == huge_page) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
  return static_cast<char*>(memory);
}

StateMemory allocate_state(std::size_t size, int slot) {
  const std::size_t offset = size < min_size_with_offset ? 0 : (slot + 1) * state_offset % page;
  char* const base = allocate(offset + size);
  return {base, base + offset};
}

}  // namespace fastoptim
