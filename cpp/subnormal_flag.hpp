// Whether a thread has calculated with subnormal numbers: x86 processors keep a flag of it.
#pragma once

#include <atomic>

#ifdef __SSE2__
#include <xmmintrin.h>
#endif

namespace fastoptim {

// While it lives, it watches its thread; then it tells.
class SubnormalFlag {
 public:
#ifdef __SSE2__
  explicit SubnormalFlag(std::atomic<bool>& met) : met_(met) {
    // Writing the register costs more than reading it.
    if (const unsigned csr = _mm_getcsr(); csr & bit) _mm_setcsr(csr & ~bit);
  }
  ~SubnormalFlag() {
    if (_mm_getcsr() & bit) met_.store(true, std::memory_order_relaxed);
  }

 private:
  static constexpr unsigned bit = 2;
  std::atomic<bool>& met_;
#else
  explicit SubnormalFlag(std::atomic<bool>&) {}
#endif
};

}  // namespace fastoptim
