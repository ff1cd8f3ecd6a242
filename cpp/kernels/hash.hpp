// Hashes of integers. Local to each file that includes them: no weak symbol of one instruction set.
#pragma once

#include <cstdint>

namespace fastoptim {
namespace {

// The finalizer of splitmix64 (Steele, Lea & Flood 2014, with the constants of Stafford's mix 13).
inline std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// A 32-bit hash with the constants of Wellons' hash prospector (0x21f0aaad, 0x735a2d97).
inline std::uint32_t mix32(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x21f0aaad;
  x ^= x >> 15;
  x *= 0x735a2d97;
  return x ^ (x >> 15);
}

}  // namespace
}  // namespace fastoptim
