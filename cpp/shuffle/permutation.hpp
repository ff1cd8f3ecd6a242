// perm-v1: the order of an epoch, a pure function of (n, seed, epoch).
//
// docs/permutation.md defines it; tests/support/reference_permutation.py is that in NumPy.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "../kernels/kernels.hpp"

namespace fastoptim {

struct Seed {
  std::uint64_t low = 0, high = 0;
};

class Permutation {
 public:
  static constexpr std::uint64_t max_rows = std::uint64_t(1) << 48;

  // stream: selects one of several independent permutations of an epoch; 0 is that of all rows.
  Permutation(std::uint64_t n, Seed seed, std::uint64_t epoch, std::uint64_t stream = 0);

  std::uint64_t size() const noexcept { return n_; }

  // Writes the rows at positions first, first + 1, ...
  void rows(std::uint64_t first, Index count, std::uint64_t* out) const noexcept;

  // Replace positions by their rows, and rows by their positions; each must be below size().
  void rows_at(std::uint64_t* positions, Index count) const noexcept;
  void positions_of(std::uint64_t* rows, Index count) const;

 private:
  void make_table(std::uint64_t key0, std::uint64_t key1);
  void cycle_walk(Feistel feistel, std::uint64_t* x, Index count) const noexcept;

  std::uint64_t n_;
  Network network_{};
  std::vector<std::uint16_t> table_;  // row by position, if n is small
  // The inverse table, made on first use. Without a lock, because a forked child could find that
  // locked for good: threads that race each make a table, and the first one is kept.
  struct Inverse {
    std::atomic<const std::vector<std::uint16_t>*> table{nullptr};
    ~Inverse() { delete table; }
  };
  const std::vector<std::uint16_t>& inverse_table() const;
  std::unique_ptr<Inverse> inverse_;
};

}  // namespace fastoptim
