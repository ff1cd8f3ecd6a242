// Where the threads of the pool run: workers stay off the processor that their caller is on.
//
// Linux often wakes a thread on the processor of the thread that wakes it, even if another one is
// idle. A worker woken there waits until the caller is done, so that the job takes as long as on one
// thread. Therefore a worker's affinity mask is
//   1. the mask of the thread that submits the job, as it is now (taskset, sched_setaffinity, a
//      control group's processors). A thread inherits the mask of the thread that starts it, so that
//      this is what the process may use, unless it treats its threads apart;
//   2. but only the part that lies in the mask that others have set for that very worker, if they
//      have; all of theirs if that leaves nothing;
//   3. less the processor that the caller is on, unless that leaves nothing.
// The caller's own mask is never changed. A mask that others set cannot be told apart where it equals
// the one that the worker has, or the caller's: rules 1 and 3 then still hold.
//
// No more threads take part in a job than have processors in these masks. Three to sixteen threads on
// two processors took up to 3 times as long as two threads, and with all workers off the caller's
// processor 7 times; a caller that may use one processor would only wake a worker to wait behind it.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#if defined(__linux__) && !defined(__ANDROID__)
#define FASTOPTIM_AFFINITY
#include <pthread.h>
#include <sched.h>
#endif

namespace fastoptim {

#ifdef FASTOPTIM_AFFINITY

class Affinity {
 public:
  void reserve(std::size_t n_workers) { workers_.reserve(n_workers); }

  // Adds the next worker. Must be called by the thread that has started it; allocates nothing if the
  // capacity was reserved.
  void add(pthread_t worker) noexcept;

  // Brings the masks up to date for a job of the calling thread on n_threads threads, itself
  // included. Returns how many of them should take part.
  int place(int n_threads) noexcept {
    if (n_threads > n_placed_ || caller_moved()) place_workers(n_threads);
    return std::min(n_threads, n_processors_);
  }

 private:
  struct Worker {
    pthread_t thread;
    cpu_set_t mask;  // as it was last set or read here
    bool set_by_others;
    cpu_set_t others;  // what they set
  };
  bool caller_moved() noexcept;
  void place_workers(int n_threads) noexcept;
  void place_worker(Worker& worker) const noexcept;

  std::vector<Worker> workers_;
  // The caller, when it was last looked at.
  pthread_t caller_{};
  int processor_ = -1;
  cpu_set_t allowed_{};
  long looked_at_ = 0;  // ms

  int n_placed_ = 0;                                    // threads looked at, too
  int n_processors_ = std::numeric_limits<int>::max();  // of all their masks together
};

#else  // no masks, or none that a process may set: the system places the threads

class Affinity {
 public:
  void reserve(std::size_t) noexcept {}
  template <class Thread>
  void add(Thread) noexcept {}
  int place(int n_threads) noexcept { return n_threads; }
};

#endif

}  // namespace fastoptim
