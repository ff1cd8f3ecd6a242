// The order of the rows of one epoch, a window at a time.
//
// Without blocks there is one window, of all rows. With blocks (for data larger than memory) the
// blocks are shuffled, every `window_blocks` of them in that order make a window, and rows are
// shuffled within their window, so that only one window need be in memory.
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
  Permutation order;         // of the rows in it
  std::uint64_t block_rows;
  std::vector<std::uint64_t> blocks;  // the first row of each; none: the window is everything

  // The rows at positions first, first + 1, ..., all of them in this window.
  void rows(std::uint64_t first, Index count, std::uint64_t* out) const noexcept;
};

class RowOrder {
 public:
  RowOrder(const OrderOptions& options, Seed seed, std::uint64_t epoch);

  // The window that holds a position below n. The last one is kept. Safe from several threads.
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
