// What the loop of kernels/roofline.hpp runs on: arrays of its own, placed where it is fastest.
//
// Measured by bench/placement.py on a busy machine (AVX2, one thread, 10^7 float32 elements): on
// huge pages the loop is 1.1 to 1.5 times as fast as on small ones with no state or one; with two
// the noise hid it. How far the arrays begin from the start of a page made no difference that
// stood out of the noise (0.94 to 1.06 with one state).
#pragma once

#include "kernels/kernels.hpp"

namespace fastoptim {

class Roofline {
 public:
  static constexpr Index best_stagger = 256;

  // n elements each of parameter, gradient and n_states states. The k-th array begins k*stagger
  // bytes after the start of a page. Throws std::invalid_argument, or std::bad_alloc.
  Roofline(Storage storage, int n_states, Index n, Index stagger, bool huge_pages);
  ~Roofline();
  Roofline(const Roofline&) = delete;

  // Goes over the arrays so many times, each an equal contiguous share a thread.
  void run(Index passes, bool serial) const noexcept;

 private:
  RooflineLoop loop_;
  Index n_;
  char* arrays_[max_operands] = {};
  void* memory_;
  std::size_t n_bytes_;
};

}  // namespace fastoptim
