// The order of the rows of one epoch, window by window.
//
// Without blocks there is one window of all rows. With blocks, for data larger than memory, the
// blocks are shuffled, each `window_blocks` consecutive ones of that order form a window, and the
// rows are shuffled within their window, so that only one window must be in memory.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "permutation.hpp"

namespace fastoptim {

struct OrderOptions {
  std::uint64_t n;
  std::uint64_t block_rows, window_blocks;  // 0: no blocks
};

struct Window {
  std::uint64_t number;
  std::uint64_t begin, end;  // positions
  Permutation order;         // of the window's rows
  std::uint64_t block_rows;
  std::vector<std::uint64_t> blocks;  // the first row of each; empty: the window is all rows

  // Writes the rows at positions first, first + 1, ..., which must be in this window.
  void rows(std::uint64_t first, Index count, std::uint64_t* out) const noexcept;
};

class RowOrder {
 public:
  RowOrder(const OrderOptions& options, Seed seed, std::uint64_t epoch);

  // The window of a position below n. Caches the last one. Thread-safe.
  std::shared_ptr<const Window> window_at(std::uint64_t position) const;

  std::uint64_t n_windows() const noexcept { return n_windows_; }
  std::vector<std::uint64_t> blocks_of(std::uint64_t window) const;  // the first row of each

  Seed seed() const noexcept { return seed_; }
  std::uint64_t epoch() const noexcept { return epoch_; }

 private:
  std::uint64_t begin_of(std::uint64_t window) const noexcept;

  OrderOptions options_;
  Seed seed_;
  std::uint64_t epoch_;
  std::uint64_t n_blocks_ = 1, n_windows_ = 1;
  Permutation blocks_;
  std::uint64_t missing_ = 0;      // rows by which the last block is short
  std::uint64_t short_place_ = 0;  // its place in the order of the blocks
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Window> last_;
};

}  // namespace fastoptim
