// Whether a thread has calculated with subnormal numbers: x86 processors keep a flag of it.
#pragma once

#include <atomic>

#ifdef __SSE2__
#include <xmmintrin.h>
#endif

namespace fastoptim {

// While it lives, it watches its thread; then it tells. The flag itself is left as it falls.
class SubnormalFlag {
 public:
#ifdef __SSE2__
  explicit SubnormalFlag(std::atomic<bool>& met) : met_(met) {
    // Writing the register costs more than reading it.
    if (const unsigned csr = _mm_getcsr(); csr & denormal_operand)
      _mm_setcsr(csr & ~denormal_operand);
  }
  SubnormalFlag(const SubnormalFlag&) = delete;
  ~SubnormalFlag() {
    if (_mm_getcsr() & denormal_operand) met_.store(true, std::memory_order_relaxed);
  }

 private:
  static constexpr unsigned denormal_operand = 2;
  std::atomic<bool>& met_;
#else
  explicit SubnormalFlag(std::atomic<bool>&) {}
#endif
};

}  // namespace fastoptim
