// parallel_for: the only entry point to multithreading, over two back ends: threads of our own
// (pool.hpp), and the team of another library's OpenMP runtime (openmp.hpp).
#pragma once

#include "../kernels/kernels.hpp"
#include "float_control.hpp"

namespace fastoptim {

// The number of threads that a job may use, the caller included. 1 in a forked child: the threads do
// not survive a fork, GCC's OpenMP runtime hangs after one, and children that started new threads
// would together have more than there are processors.
int num_threads() noexcept;
void set_num_threads(int n) noexcept;

// Which back end runs the jobs. `automatic` decides by the origin of a job's arrays.
enum class Threading { automatic, pool, openmp };
Threading threading() noexcept;
void set_threading(Threading choice) noexcept;  // for openmp, find_openmp() must have found one

// Where a job's arrays come from. Those of torch were just computed, or will be read next, by the
// threads of torch's OpenMP team, which spin in between.
enum class Origin { unknown, torch };

// Whether an OpenMP team runs the jobs of that origin.
bool runs_on_openmp(Origin origin) noexcept;

// Calls of body(context, begin, end) on disjoint ranges that together make up [0, n).
struct Job {
  using Body = void (*)(const void* context, Index begin, Index end);

  Index n;
  Index grain;  // the smallest range, but for the last one of a thread's share
  Body body;    // must not throw
  const void* context;
  FloatControl float_control;  // the caller's: each thread sets it before it calls body
  int n_threads;               // the largest team, the caller included; at least 2
};

// Runs jobs on a team of threads.
class ThreadBackend {
 public:
  // Runs a job on the calling thread and up to n_threads - 1 others; returns after the last call
  // of body. Returns false, with no call made, if no other thread is available: the caller then
  // runs the job alone. Several threads may call it at once. Must not allocate, except to start
  // threads.
  virtual bool run_job(const Job& job) noexcept = 0;

 protected:
  ~ThreadBackend() = default;  // back ends are never destroyed: their threads may outlive main
};

// The erased form of the template below.
void parallel_for(Index n, bool serial, Index grain, Origin origin, Job::Body body,
                  const void* context) noexcept;

// Calls f(begin, end) on disjoint ranges that together make up [0, n), none smaller than the grain
// unless it ends a thread's share; if serial, one call on the calling thread. f must not throw. All
// threads have the caller's rounding and flush-to-zero modes. Allocates nothing except to start
// threads; if the system gives none, the threads that exist do the work.
template <class F>
void parallel_for(Index n, bool serial, const F& f, Index grain = 1,
                  Origin origin = Origin::unknown) noexcept {
  parallel_for(
      n, serial, grain, origin,
      [](const void* context, Index begin, Index end) {
        (*static_cast<const F*>(context))(begin, end);
      },
      &f);
}

}  // namespace fastoptim
