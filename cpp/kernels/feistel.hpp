// perm-v1's network: round k adds a hash of one half, keyed, to the other half.
//
// Addition, not exclusive or: an exclusive-or network is an even permutation whatever its keys.
#pragma once

#include "hash.hpp"
#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// Elements that go through a round together, in L1. A loop over all rounds of one vector waits
// for its chain of multiplications (8.4 ns an element with AVX2, against 2.5); tiles of 128 to
// 2048 were equally fast.
constexpr Index feistel_tile = 512;

template <bool inverse>
void feistel_round(std::uint32_t* __restrict to, const std::uint32_t* __restrict from,
                   std::uint32_t key, std::uint32_t mask, Index count) noexcept {
#pragma omp simd
  for (Index i = 0; i < count; ++i) {
    const std::uint32_t h = mix32(from[i] ^ key);
    to[i] = (inverse ? to[i] - h : to[i] + h) & mask;
  }
}

template <bool inverse>
void feistel(const Network& network, std::uint64_t* x, Index count) noexcept {
  const int shift = network.low_bits;
  const std::uint32_t high_mask = (1U << network.high_bits) - 1;
  const std::uint32_t low_mask = (1U << network.low_bits) - 1;
  std::uint32_t high[feistel_tile], low[feistel_tile];
  for (Index begin = 0; begin < count; begin += feistel_tile) {
    const Index size = count - begin < feistel_tile ? count - begin : feistel_tile;
    std::uint64_t* __restrict tile = x + begin;
#pragma omp simd
    for (Index i = 0; i < size; ++i) {
      high[i] = std::uint32_t(tile[i] >> shift);
      low[i] = std::uint32_t(tile[i]) & low_mask;
    }
    for (int k = 0; k < n_rounds; ++k) {
      const int round = inverse ? n_rounds - 1 - k : k;
      if (round % 2 == 0)
        feistel_round<inverse>(high, low, network.keys[round], high_mask, size);
      else
        feistel_round<inverse>(low, high, network.keys[round], low_mask, size);
    }
#pragma omp simd
    for (Index i = 0; i < size; ++i) tile[i] = std::uint64_t(high[i]) << shift | low[i];
  }
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
