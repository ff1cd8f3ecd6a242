// A list of tensors as one range of work: one parallel region for all of them.
#pragma once

#include <atomic>
#include <vector>

#include "kernels/kernels.hpp"
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

  // Whether the last run calculated with subnormal numbers, so that the next may find some in the
  // states; before the first run it may, too.
  bool met_subnormals() const { return met_subnormals_; }

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
  Pace pace_;
};

}  // namespace fastoptim
