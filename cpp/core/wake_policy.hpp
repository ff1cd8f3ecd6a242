// Decides whether a job is worth waking threads that sleep.
#pragma once

#include <atomic>
#include <chrono>

#include "../kernels/kernels.hpp"

namespace fastoptim {

// How long a thread spins for the next job before it sleeps: long enough to bridge the gap between
// the steps of a tight loop, short enough that other threads do not miss the processor.
constexpr std::chrono::microseconds spin_time{20};

// A small job always runs faster on one thread. A medium job is shared only if the last such job
// ended within spin_time, because the other threads then still spin: waking them from sleep takes
// longer than a medium job saves. A large job is always shared.
class WakePolicy {
 public:
  // Sizes below `medium` are small, and sizes below `large` medium, in any unit.
  WakePolicy(Index medium, Index large) noexcept : medium_(medium), large_(large) {}

  // Whether a job of this size should run on the calling thread alone.
  bool runs_serially(Index size) const noexcept {
    if (size < medium_) return true;
    return is_medium(size) && now() - last_end_.load(std::memory_order_relaxed) > spin_time;
  }

  // To be called at the end of every job. Takes the size so that only a medium job, whose
  // successor depends on it, reads the clock, which takes 25 ns.
  void job_ended(Index size) noexcept {
    if (is_medium(size)) last_end_.store(now(), std::memory_order_relaxed);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static Clock::duration now() noexcept { return Clock::now().time_since_epoch(); }
  bool is_medium(Index size) const noexcept { return size >= medium_ && size < large_; }

  const Index medium_, large_;
  std::atomic<Clock::duration> last_end_{Clock::duration::zero()};
};

}  // namespace fastoptim
