// A step over a list of tensors, as one range of blocks in one parallel region.
#pragma once

#include <atomic>
#include <vector>

#include "../kernels/kernels.hpp"
#include "float_control.hpp"
#include "parallel.hpp"
#include "wake_policy.hpp"

namespace fastoptim {

// Elements in a block, the unit in which work is divided among threads. Blocks count from each
// tensor's start, so that neither the resulting bytes nor the position of a tile depend on the
// number of threads.
constexpr Index block = 1024;

// Below this many elements one thread is always faster than two.
constexpr Index serial_below_elements = 32768;

// From this many elements on, a step wakes threads that sleep. A step of 110 000 elements after a
// pause of 0.5 ms takes 68 us on one thread, and 128 us if it wakes a second (bench/overhead.py has
// such pauses); in a tight loop two threads take 31 us and one 52.
constexpr Index wake_from_elements = 262144;

// From this many elements on, a step is shared in an OpenMP team, whose threads still spin when
// torch has just computed the gradients. AdamW right after backward, and after a pause of 20 ms, in
// us: 73 and 95 on one thread, 42 and 143 on two for 51 000 elements; 107 and 132, 58 and 164 for
// 92 000; 169 and 193, 85 and 192 for 175 000.
constexpr Index share_on_openmp_from_elements = 32768;

// Below this many elements a step's arrays may be in the caches, perhaps those of another
// processor, so the kernels prefetch them with ownership (PREFETCHW). With that, a step on one
// thread after NumPy computed the gradients on two took 0.8 times as long for 220 000 elements,
// 0.95 for 440 000 and 1.0 for 870 000.
constexpr Index cached_below_elements = 1 << 19;

// A tensor and the kernel that updates it.
struct Work {
  Tensor tensor;
  Sweep sweep;
  int coefficients;  // index into the array that run_step() gets
  int n_states;
};

class WorkList {
 public:
  void add(const Work& work);
  Work& operator[](std::size_t k) { return works_[k]; }
  const Work& operator[](std::size_t k) const { return works_[k]; }
  Index n_elements() const { return n_elements_; }

  // Where the arrays come from. Unknown until it is set.
  Origin origin() const { return origin_; }
  void set_origin(Origin origin) { origin_ = origin; }

  // Updates all tensors.
  void run_step(const Coefficients* coefficients) noexcept;

  // Whether the next step should search the states for subnormal numbers: true if the last step
  // met some, and before the first step. Only under the default float control, because the
  // subnormal-safe path is exact only in rounding to nearest, and under flush-to-zero subnormal
  // numbers cost nothing.
  bool expects_subnormals() const noexcept {
    return met_subnormals_.load(std::memory_order_relaxed) && is_default_float_control();
  }

  // Whether the last step searched for them. For tests.
  bool looked_for_subnormals() const noexcept { return looked_for_subnormals_; }

  // Zeroes the states, which must be contiguous. Each part is zeroed by the thread whose share it
  // will be in a step, so that first touch places its memory close to that thread's processor.
  void zero_states() const noexcept;

 private:
  // Calls f(work, begin, end) for the elements of blocks [first_block, last_block).
  template <class F>
  void for_elements(Index first_block, Index last_block, const F& f) const noexcept;

  std::vector<Work> works_;
  std::vector<Index> first_block_{0};  // of each tensor, then the number of all blocks
  Index n_elements_ = 0;
  Origin origin_ = Origin::unknown;
  std::atomic<bool> met_subnormals_{true};
  bool looked_for_subnormals_ = false;
  WakePolicy wake_policy_{serial_below_elements, wake_from_elements};
};

}  // namespace fastoptim
