// parallel_for: the one place with threads.
#pragma once

#include "kernels/kernels.hpp"

namespace fastoptim {

int num_threads() noexcept;
void set_num_threads(int n) noexcept;

// OpenMP does not survive a fork: a child that entered a parallel region after its parent did
// would wait for threads that it does not have. So a forked child runs serially, for good.
bool forked() noexcept;

bool has_openmp() noexcept;

using Body = void (*)(const void* context, Index begin, Index end);
void parallel_for(Index n, bool serial, Body body, const void* context);

// Calls f(begin, end) on shares that together make [0, n), one a thread; on the calling thread
// alone if serial. f must not throw.
template <class F>
void parallel_for(Index n, bool serial, const F& f) {
  parallel_for(
      n, serial,
      [](const void* context, Index begin, Index end) {
        (*static_cast<const F*>(context))(begin, end);
      },
      &f);
}

}  // namespace fastoptim
