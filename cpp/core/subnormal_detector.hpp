// Detects calculations with subnormal numbers by MXCSR's denormal flag (DE), which x86 sets.
#pragma once

#include <atomic>

#ifdef __SSE2__
#include <xmmintrin.h>
#endif

namespace fastoptim {

// RAII: the constructor clears MXCSR.DE; the destructor sets `met` if the thread has raised it. DE
// is not restored. On other processors it does nothing.
class SubnormalDetector {
 public:
#ifdef __SSE2__
  explicit SubnormalDetector(std::atomic<bool>& met) : met_(met) {
    // A write of MXCSR costs more than a read.
    if (const unsigned csr = _mm_getcsr(); csr & denormal_operand)
      _mm_setcsr(csr & ~denormal_operand);
  }
  SubnormalDetector(const SubnormalDetector&) = delete;
  ~SubnormalDetector() {
    if (_mm_getcsr() & denormal_operand) met_.store(true, std::memory_order_relaxed);
  }

 private:
  static constexpr unsigned denormal_operand = 2;
  std::atomic<bool>& met_;
#else
  explicit SubnormalDetector(std::atomic<bool>&) {}
#endif
};

}  // namespace fastoptim
