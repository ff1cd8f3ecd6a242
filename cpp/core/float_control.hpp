// The floating-point control bits of a thread: rounding mode, flush-to-zero, denormals-are-zero.
//
// Each thread has its own, and torch.set_flush_denormal and fesetround change only their caller's.
// A result must not depend on which thread computed it, so every thread runs a job under the
// control bits of the thread that submitted the job.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#elif !defined(__aarch64__)
#include <cfenv>
#endif

namespace fastoptim {

#if defined(__SSE2__)

// MXCSR without its exception flags, which record events rather than control them.
constexpr unsigned float_flags = 0x3f;
inline unsigned float_control() noexcept { return _mm_getcsr() & ~float_flags; }
inline void set_float_control(unsigned bits) noexcept {
  // A write of MXCSR costs more than a read.
  if (float_control() != bits) _mm_setcsr(bits);
}

// Whether the thread rounds to nearest and keeps subnormal numbers.
inline bool is_default_float_control() noexcept {
  constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x40, rounding = 0x6000;
  return (_mm_getcsr() & (flush_to_zero | denormals_are_zero | rounding)) == 0;
}

#elif defined(__aarch64__)

inline unsigned long float_control() noexcept {
  unsigned long bits;
  asm volatile("mrs %0, fpcr" : "=r"(bits));
  return bits;
}
inline void set_float_control(unsigned long bits) noexcept {
  if (float_control() != bits) asm volatile("msr fpcr, %0" : : "r"(bits));
}
inline bool is_default_float_control() noexcept {
  constexpr unsigned long flush_to_zero = 1ul << 24, rounding = 3ul << 22;
  return (float_control() & (flush_to_zero | rounding)) == 0;
}

#else

inline int float_control() noexcept { return std::fegetround(); }
inline void set_float_control(int bits) noexcept { std::fesetround(bits); }
inline bool is_default_float_control() noexcept { return std::fegetround() == FE_TONEAREST; }

#endif

using FloatControl = decltype(float_control());

}  // namespace fastoptim
