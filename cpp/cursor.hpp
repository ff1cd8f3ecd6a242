// Where a walk through epochs of batches is, and which samples come next.
#pragma once

#include <cstdint>

#include "kernels/kernels.hpp"

namespace fastoptim {

struct BatchOptions {
  Index n, batch_size;  // over all ranks
  bool drop_last;       // no batch that is shorter
  Index rank, world;
};

struct Samples {
  std::uint64_t first;
  Index count;
};

class Cursor {
 public:
  explicit Cursor(const BatchOptions& options)
      : options_(options), last_begin_(options.n - (options.drop_last ? options.batch_size : 1)) {}

  std::uint64_t epoch() const noexcept { return epoch_; }
  Index position() const noexcept { return position_; }

  // The end of an epoch is the beginning of the next.
  void seek(std::uint64_t epoch, Index position) noexcept {
    const bool ended = position > 0 && position > last_begin_;
    epoch_ = ended ? epoch + 1 : epoch;
    position_ = ended ? 0 : position;
  }

  // Whether the epoch has the batch that comes `ahead` batches after the next one.
  bool has(Index ahead = 0) const noexcept {
    return position_ <= last_begin_ &&
           (last_begin_ - position_) / options_.batch_size >= ahead;
  }

  // This rank's part of that batch.
  Samples samples(Index ahead = 0) const noexcept {
    const Index begin = position_ + ahead * options_.batch_size, left = options_.n - begin;
    const Index count = left < options_.batch_size ? left : options_.batch_size;
    const Index from = part_begin(count, options_.rank);
    return {std::uint64_t(begin + from), part_begin(count, options_.rank + 1) - from};
  }

  // Beyond the next batch. An epoch without batches is over at once.
  void advance() noexcept {
    if (has(1)) {
      position_ += options_.batch_size;
    } else {
      ++epoch_;
      position_ = 0;
    }
  }

  Index longest() const noexcept {  // samples of a part
    const Index count = options_.n < options_.batch_size ? options_.n : options_.batch_size;
    return count / options_.world + (count % options_.world != 0);
  }

 private:
  // count*rank/world, where that product may not fit.
  Index part_begin(Index count, Index rank) const noexcept {
    const Index world = options_.world;
    return count / world * rank + count % world * rank / world;
  }

  const BatchOptions options_;
  const Index last_begin_;  // the last position at which a batch begins
  std::uint64_t epoch_ = 0;
  Index position_ = 0;
};

}  // namespace fastoptim
