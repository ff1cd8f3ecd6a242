// A list of tensors as one range of work: one parallel region for all of them.
#pragma once

#include <atomic>
#include <vector>

#include "../kernels/kernels.hpp"
#include "float_control.hpp"
#include "parallel.hpp"

namespace fastoptim {

// Threads are handed whole blocks, counted from each tensor's start, so that neither the bytes
// nor a tile's position depend on the number of threads.
constexpr Index block = 1024;

// Below this many elements one thread is faster than waking a second.
constexpr Index serial_below = 32768;

// Below this many elements threads that sleep are left asleep. A step of 110 000 elements after a
// pause of 0.5 ms takes 68 us so, and 128 where a second thread is woken (bench/overhead.py has
// such pauses); in a tight loop two threads take 31 and one 52.
constexpr Index serial_if_asleep_below = 262144;

// Below this many elements a step's arrays may lie in the processors' caches, another's included.
// Asking for them to be written, a step on one thread after NumPy's gradients on two took 0.8 times
// as long for 220 000 elements, 0.95 for 440 000 and 1.0 for 870 000.
constexpr Index cached_below = 1 << 19;

struct Work {
  Tensor tensor;
  Sweep sweep;
  int group;  // whose coefficients it takes
  int n_states;
};

class WorkList {
 public:
  void add(const Work& work);
  Work& operator[](std::size_t k) { return works_[k]; }
  Index n_elements() const { return n_elements_; }

  void run(const Coefficients* groups) noexcept;

  // Whether the next run is to look for subnormal numbers in the states: the last one calculated
  // with some; before the first run there may be some, too. What is done about them holds for the
  // usual rounding only, and where they are flushed to zero they cost nothing.
  bool expects_subnormals() const noexcept {
    return met_subnormals_.load(std::memory_order_relaxed) && is_float_control_usual();
  }

  // Whether the last run was told to look for them: for tests.
  bool looked_for_subnormals() const noexcept { return looked_for_subnormals_; }

  // Zeroes the states, each part by the thread that a step will give it to, so that its memory
  // lies close to that thread's processor. They must be contiguous.
  void zero_states() const noexcept;

 private:
  // Calls f(work, begin, end) for all elements of some blocks of the list.
  template <class F>
  void for_elements(Index first_block, Index last_block, const F& f) const noexcept;

  std::vector<Work> works_;
  std::vector<Index> first_block_{0};  // of each tensor, and the end
  Index n_elements_ = 0;
  std::atomic<bool> met_subnormals_{true};
  bool looked_for_subnormals_ = false;
  Pace pace_;
};

}  // namespace fastoptim
