// parallel_for: the one place with threads.
#pragma once

#include "kernels/kernels.hpp"

namespace fastoptim {

int num_threads() noexcept;
void set_num_threads(int n) noexcept;

// Threads do not survive a fork, and the children of one process together would start more than
// there are processors. So a forked child runs serially, for good.
bool forked() noexcept;

using Body = void (*)(const void* context, Index begin, Index end);
void parallel_for(Index n, bool serial, Index grain, Body body, const void* context);

// Calls f(begin, end) on pieces that together make [0, n), no smaller than the grain unless a share
// ends; on the calling thread alone if serial. f must not throw.
template <class F>
void parallel_for(Index n, bool serial, const F& f, Index grain = 1) {
  parallel_for(
      n, serial, grain,
      [](const void* context, Index begin, Index end) {
        (*static_cast<const F*>(context))(begin, end);
      },
      &f);
}

}  // namespace fastoptim
