#include "parallel.hpp"

#include <algorithm>
#include <atomic>

#include "fork.hpp"
#ifdef FASTOPTIM_THREADS
#include "openmp.hpp"
#include "pool.hpp"
#endif

namespace fastoptim {
namespace {

std::atomic<int> threads{1};
std::atomic<Threading> choice{Threading::automatic};

// The back end that runs a job; null in a build without threads.
ThreadBackend* backend([[maybe_unused]] Origin origin) noexcept {
#ifdef FASTOPTIM_THREADS
  const Threading now = threading();
  if (now != Threading::pool && origin == Origin::torch)
    if (ThreadBackend* const team = torch_openmp()) return team;
  return now == Threading::openmp ? openmp() : &thread_pool();
#else
  return nullptr;
#endif
}

}  // namespace

bool runs_on_openmp(Origin origin) noexcept {
#ifdef FASTOPTIM_THREADS
  const ThreadBackend* const team = backend(origin);
  return team != &thread_pool();
#else
  (void)origin;
  return false;
#endif
}

int num_threads() noexcept { return forked() ? 1 : threads.load(); }

void set_num_threads(int n) noexcept { threads = n; }

Threading threading() noexcept { return choice.load(std::memory_order_relaxed); }

void set_threading(Threading other) noexcept { choice = other; }

void parallel_for(Index n, bool serial, Index grain, Origin origin, Job::Body body,
                  const void* context) noexcept {
  if (!serial) {
    const int n_threads = int(std::min<Index>(n, num_threads()));
    ThreadBackend* const team = n_threads > 1 ? backend(origin) : nullptr;
    if (team && team->run_job({n, grain, body, context, float_control(), n_threads})) return;
  }
  if (n > 0) body(context, 0, n);
}

}  // namespace fastoptim
