#include "roofline.hpp"

#include <sys/mman.h>

#include <new>
#include <stdexcept>
#include <string>

#include "dispatch.hpp"
#include "parallel.hpp"

namespace fastoptim {
namespace {

constexpr Index page = 4096, huge_page = Index(2) << 20;

Index round_up(Index x, Index to) { return (x + to - 1) / to * to; }

}  // namespace

Roofline::Roofline(Storage storage, int n_states, Index n, Index stagger, bool huge_pages) : n_(n) {
  if (n_states < 0 || n_states > max_states || n < 0 || stagger < 0 || stagger % 64 != 0)
    throw std::invalid_argument("a roofline must have 0 to " + std::to_string(max_states) +
                                " states, n >= 0 and a stagger of whole cache lines");
  loop_ = kernels().roofline[int(storage)][n_states];
  const int n_arrays = 2 + n_states;
  const Index item_size = item_sizes[int(storage)];
  const Index apart = round_up(n * item_size + n_arrays * stagger, page);
  n_bytes_ = std::size_t(huge_page + n_arrays * apart);
  memory_ = mmap(nullptr, n_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory_ == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  // A wish: where the system has no huge pages, the loop runs on small ones.
  if (huge_pages) madvise(memory_, n_bytes_, MADV_HUGEPAGE);
#else
  (void)huge_pages;
#endif
  char* const start = reinterpret_cast<char*>(
      round_up(reinterpret_cast<Index>(memory_), huge_page));
  for (int k = 0; k < n_arrays; ++k) arrays_[k] = start + k * (apart + stagger);
  // Touched first by the threads that will use it.
  parallel_for(n, false, [&](Index begin, Index end) {
    for (int k = 0; k < n_arrays; ++k)
      for (Index i = begin; i < end; ++i) {
        if (storage == Storage::float32) reinterpret_cast<float*>(arrays_[k])[i] = 1;
        else reinterpret_cast<double*>(arrays_[k])[i] = 1;
      }
  });
}

Roofline::~Roofline() { munmap(memory_, n_bytes_); }

void Roofline::run(Index passes, bool serial) const noexcept {
  const auto share = [this](Index begin, Index end) { loop_(arrays_, begin, end); };
  for (; passes > 0; --passes) parallel_for(n_, serial, share);
}

}  // namespace fastoptim
