// A list of tensors as one range of work: one parallel region for all of them.
#pragma once

#include <vector>

#include "kernels/kernels.hpp"

namespace fastoptim {

// Threads are handed whole blocks, counted from each tensor's start, so that neither the bytes
// nor a tile's position depend on the number of threads.
constexpr Index block = 1024;

// Below this many elements one thread is faster than waking a second.
constexpr Index serial_below = 32768;

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

  void run(const Coefficients* groups) const noexcept;

  // Zeroes the states, each part by the thread that a step will give it to, so that its memory
  // lies close to that thread's processor. They must be contiguous.
  void zero_states() const noexcept;

 private:
  // Calls f(work, begin, end) for all elements, on every thread for its share of the blocks.
  template <class F>
  void for_blocks(const F& f) const noexcept;

  std::vector<Work> works_;
  std::vector<Index> first_block_{0};  // of each tensor, and the end
  Index n_elements_ = 0;
};

}  // namespace fastoptim
