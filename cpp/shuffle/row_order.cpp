#include "row_order.hpp"

#include <algorithm>
#include <numeric>

namespace fastoptim {
namespace {

// Streams of the permutations of an epoch in blocks. Stream 0 is that of an epoch without blocks.
constexpr std::uint64_t block_stream = 1, first_window_stream = 2;

std::uint64_t ceil_div(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0); }

}  // namespace

void Window::rows(std::uint64_t first, Index count, std::uint64_t* out) const noexcept {
  order.rows(first - begin, count, out);
  if (blocks.empty()) return;
  for (Index i = 0; i < count; ++i) out[i] = blocks[out[i] / block_rows] + out[i] % block_rows;
}

RowOrder::RowOrder(const OrderOptions& options, Seed seed, std::uint64_t epoch)
    : options_(options),
      seed_(seed),
      epoch_(epoch),
      n_blocks_(options.block_rows ? ceil_div(options.n, options.block_rows) : 0),
      blocks_(n_blocks_, seed, epoch, block_stream) {
  if (n_blocks_ == 0) return;
  options_.block_rows = std::min(options_.block_rows, options_.n);
  options_.window_blocks = std::min(options_.window_blocks, n_blocks_);
  n_windows_ = ceil_div(n_blocks_, options_.window_blocks);
  missing_ = n_blocks_ * options_.block_rows - options_.n;
  short_place_ = n_blocks_ - 1;
  blocks_.positions_of(&short_place_, 1);
}

std::uint64_t RowOrder::begin_of(std::uint64_t window) const noexcept {
  const std::uint64_t place = std::min(window * options_.window_blocks, n_blocks_);
  return place * options_.block_rows - (short_place_ < place ? missing_ : 0);
}

std::vector<std::uint64_t> RowOrder::blocks_of(std::uint64_t window) const {
  const std::uint64_t begin = window * options_.window_blocks;
  const std::uint64_t end = std::min(begin + options_.window_blocks, n_blocks_);
  std::vector<std::uint64_t> blocks(end - begin);
  blocks_.rows(begin, Index(blocks.size()), blocks.data());
  // The short block is moved to the end, so that row r of the window is in block r / block_rows.
  if (missing_ > 0 && begin <= short_place_ && short_place_ < end)
    std::rotate(blocks.begin() + Index(short_place_ - begin),
                blocks.begin() + Index(short_place_ - begin) + 1, blocks.end());
  for (std::uint64_t& block : blocks) block *= options_.block_rows;
  return blocks;
}

std::shared_ptr<const Window> RowOrder::window_at(std::uint64_t position) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (last_ && last_->begin <= position && position < last_->end) return last_;
  if (n_blocks_ == 0) {
    last_ = std::make_shared<Window>(
        Window{0, 0, options_.n, Permutation(options_.n, seed_, epoch_), 0, {}});
    return last_;
  }
  std::uint64_t number = position / (options_.window_blocks * options_.block_rows);
  if (begin_of(number + 1) <= position) ++number;  // the short block is before it
  const std::uint64_t begin = begin_of(number), end = begin_of(number + 1);
  last_ = std::make_shared<Window>(Window{
      number, begin, end, Permutation(end - begin, seed_, epoch_, first_window_stream + number),
      options_.block_rows, blocks_of(number)});
  return last_;
}

}  // namespace fastoptim
