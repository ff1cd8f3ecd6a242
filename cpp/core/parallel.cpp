#include "parallel.hpp"

#include <algorithm>
#include <atomic>

#include "fork.hpp"
#ifdef FASTOPTIM_THREADS
#include "pool.hpp"
#endif

namespace fastoptim {
namespace {

std::atomic<int> threads{1};

// The back end that runs the jobs; null in a build without threads.
ThreadBackend* backend() noexcept {
#ifdef FASTOPTIM_THREADS
  return &thread_pool();
#else
  return nullptr;
#endif
}

}  // namespace

int num_threads() noexcept {
  if (forked()) {
    const ThreadBackend* const team = backend();
    if (!team || !team->survives_fork()) return 1;
  }
  return threads.load();
}

void set_num_threads(int n) noexcept { threads = n; }

void parallel_for(Index n, bool serial, Index grain, Job::Body body, const void* context) noexcept {
  if (!serial) {
    ThreadBackend* const team = backend();
    const int n_threads = int(std::min<Index>(n, num_threads()));
    if (team && n_threads > 1 &&
        team->run_job({n, grain, body, context, float_control(), n_threads}))
      return;
  }
  if (n > 0) body(context, 0, n);
}

}  // namespace fastoptim
