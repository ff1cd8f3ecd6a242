// Divides a job among the threads of a team. Each thread works off its own share piece by piece, then
// steals pieces of the others' shares.
#pragma once

#include <algorithm>
#include <atomic>

#include "../kernels/constants.hpp"
#include "parallel.hpp"

namespace fastoptim {

// Each thread's share is split into this many pieces, so that other threads can steal the rest of
// it.
constexpr Index pieces_per_share = 16;

// Calls the job's body on the pieces that this thread gets. next(share) returns the counter of a
// share, which must be 0 when the job begins: an atomic with the first element of the share that no
// thread has claimed. The own share comes first, since its memory is close to the thread's processor.
template <class Next>
void work_off(const Job& job, int n_shares, int own_share, const Next& next) noexcept {
  for (int k = 0; k < n_shares; ++k) {
    const int share = (own_share + k) % n_shares;
    const Index begin = job.n * share / n_shares;
    const Index size = job.n * (share + 1) / n_shares - begin;
    const Index piece = std::max(job.grain, (size + pieces_per_share - 1) / pieces_per_share);
    std::atomic<Index>& claimed = next(share);
    for (;;) {
      const Index at = claimed.fetch_add(piece, std::memory_order_relaxed);
      if (at >= size) break;
      job.body(job.context, begin + at, begin + std::min(at + piece, size));
    }
  }
}

}  // namespace fastoptim
