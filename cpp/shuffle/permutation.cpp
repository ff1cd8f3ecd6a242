#include "permutation.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "../core/dispatch.hpp"
#include "../kernels/hash.hpp"

namespace fastoptim {
namespace {

constexpr std::uint64_t algorithm_name = 0x7065726d2d7631;  // "perm-v1"
constexpr std::uint64_t golden_ratio = 0x9e3779b97f4a7c15;

// Up to this many rows a table is used, of 128 KiB at most: the permutations of a Feistel network on
// so few bits are visibly not uniform.
constexpr std::uint64_t table_limit = 1 << 16;

// Positions that are cycle-walked together: 16 KiB of them.
constexpr Index walk_block = 2048;

int bit_width(std::uint64_t x) {
  int bits = 0;
  for (; x != 0; x >>= 1) ++bits;
  return bits;
}

}  // namespace

Permutation::Permutation(std::uint64_t n, Seed seed, std::uint64_t epoch, std::uint64_t stream)
    : n_(n) {
  const auto key_word = [&](std::uint64_t index) {
    std::uint64_t h = algorithm_name;
    for (const std::uint64_t word : {index, stream, n, seed.low, seed.high, epoch})
      h = mix64((h ^ word) + golden_ratio);
    return mix64(h);
  };
  if (n <= table_limit) {
    make_table(key_word(0), key_word(1));
    inverse_ = std::make_unique<Inverse>();
    return;
  }
  for (int k = 0; k < n_rounds; k += 2) {
    const std::uint64_t word = key_word(std::uint64_t(k / 2));
    network_.keys[k] = std::uint32_t(word);
    network_.keys[k + 1] = std::uint32_t(word >> 32);
  }
  const int bits = bit_width(n - 1);
  network_.high_bits = bits / 2;
  network_.low_bits = bits - bits / 2;
}

// The Fisher-Yates shuffle, from the last place down, with Lemire's unbiased bounded draws.
void Permutation::make_table(std::uint64_t key0, std::uint64_t key1) {
  table_.resize(n_);
  std::iota(table_.begin(), table_.end(), std::uint16_t(0));
  std::uint64_t counter = 0;
  const auto below = [&](std::uint32_t bound) {
    for (;;) {
      const std::uint64_t draw = mix64(mix64(key0 + counter++ * golden_ratio) ^ key1) >> 32;
      const std::uint64_t product = draw * bound;
      // 2^32 modulo the bound is below the bound, so most draws need no division.
      if (std::uint32_t(product) >= bound || std::uint32_t(product) >= -bound % bound)
        return std::uint32_t(product >> 32);
    }
  };
  for (std::uint32_t last = std::uint32_t(n_); last-- > 1;)
    std::swap(table_[last], table_[below(last + 1)]);
}

// Cycle walking: applies the network until every value is below n. After each pass the values still
// outside, on average at most half, are compacted, so that all SIMD lanes stay in use.
void Permutation::cycle_walk(Feistel feistel, std::uint64_t* x, Index count) const noexcept {
  feistel(network_, x, count);
  std::uint64_t outside[walk_block];
  std::uint16_t place[walk_block];
  Index left = 0;
  for (Index i = 0; i < count; ++i) {
    place[left] = std::uint16_t(i);
    left += x[i] >= n_;
  }
  while (left > 0) {
    for (Index i = 0; i < left; ++i) outside[i] = x[place[i]];
    feistel(network_, outside, left);
    const Index walked = left;
    left = 0;
    for (Index i = 0; i < walked; ++i) {
      const std::uint16_t to = place[i];
      x[to] = outside[i];
      place[left] = to;
      left += outside[i] >= n_;
    }
  }
}

void Permutation::rows(std::uint64_t first, Index count, std::uint64_t* out) const noexcept {
  if (n_ <= table_limit) {
    std::copy_n(table_.begin() + std::ptrdiff_t(first), count, out);
    return;
  }
  const Feistel feistel = kernels().feistel;
  for (Index begin = 0; begin < count; begin += walk_block) {
    const Index size = std::min(walk_block, count - begin);
    std::iota(out + begin, out + begin + size, first + std::uint64_t(begin));
    cycle_walk(feistel, out + begin, size);
  }
}

void Permutation::rows_at(std::uint64_t* positions, Index count) const noexcept {
  if (n_ <= table_limit) {
    for (Index i = 0; i < count; ++i) positions[i] = table_[positions[i]];
    return;
  }
  for (Index begin = 0; begin < count; begin += walk_block)
    cycle_walk(kernels().feistel, positions + begin, std::min(walk_block, count - begin));
}

const std::vector<std::uint16_t>& Permutation::inverse_table() const {
  if (const auto* table = inverse_->table.load(std::memory_order_acquire)) return *table;
  auto made = std::make_unique<std::vector<std::uint16_t>>(n_);
  for (std::size_t k = 0; k < n_; ++k) (*made)[table_[k]] = std::uint16_t(k);
  const std::vector<std::uint16_t>* kept = nullptr;
  if (inverse_->table.compare_exchange_strong(kept, made.get())) return *made.release();
  return *kept;
}

void Permutation::positions_of(std::uint64_t* rows, Index count) const {
  if (n_ <= table_limit) {
    const std::vector<std::uint16_t>& table = inverse_table();
    for (Index i = 0; i < count; ++i) rows[i] = table[rows[i]];
    return;
  }
  for (Index begin = 0; begin < count; begin += walk_block)
    cycle_walk(kernels().feistel_inverse, rows + begin, std::min(walk_block, count - begin));
}

}  // namespace fastoptim
