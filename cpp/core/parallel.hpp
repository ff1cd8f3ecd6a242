// parallel_for: the one place with threads.
#pragma once

#include <atomic>
#include <chrono>

#include "../kernels/kernels.hpp"

namespace fastoptim {

int num_threads() noexcept;
void set_num_threads(int n) noexcept;

// How many forks lie between the process that loaded this code and the one that asks. Whatever a
// thread may hold at a fork (a lock, a turn, a thread of its own) is kept with this number: where
// the number has grown since, the holder does not exist in this process. Cheaper than getpid.
unsigned forks() noexcept;

// Threads do not survive a fork, and the children of one process together would start more than
// there are processors. So a forked child runs serially, for good.
inline bool forked() noexcept { return forks() > 0; }

// How long threads stay awake after a job, for the next one: it covers the time between the steps
// of a tight loop, and is over before others miss the processor.
constexpr std::chrono::microseconds awake_for{20};

// Waking threads that sleep takes longer than a job of medium size does. So they are left asleep
// for one, unless such jobs follow each other at once.
class Pace {
 public:
  // Calls job(serial): whether a job of that size is better done by the calling thread alone, as is
  // a small one always and a medium one if the last such job ended too long ago.
  template <class Job>
  void run(Index size, Index small_below, Index medium_below, const Job& job) {
    const bool small = size < small_below, medium = !small && size < medium_below;
    job(small || (medium && now() - end_.load(std::memory_order_relaxed) > awake_for));
    if (medium) end_.store(now(), std::memory_order_relaxed);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static Clock::duration now() noexcept { return Clock::now().time_since_epoch(); }

  std::atomic<Clock::duration> end_{Clock::duration::zero()};
};

using Body = void (*)(const void* context, Index begin, Index end);
void parallel_for(Index n, bool serial, Index grain, Body body, const void* context) noexcept;

// Calls f(begin, end) on pieces that together make [0, n), no smaller than the grain unless a share
// ends; on the calling thread alone if serial. f must not throw. All threads round and flush as the
// calling one does. Allocates nothing but for new threads, and does without those that cannot be
// had.
template <class F>
void parallel_for(Index n, bool serial, const F& f, Index grain = 1) noexcept {
  parallel_for(
      n, serial, grain,
      [](const void* context, Index begin, Index end) {
        (*static_cast<const F*>(context))(begin, end);
      },
      &f);
}

}  // namespace fastoptim
