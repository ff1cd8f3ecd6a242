// Positions in a sequence of epochs, and the samples of each batch.
#pragma once

#include <cstdint>

#include "permutation.hpp"

namespace fastoptim {

struct BatchOptions {
  Index n, batch_size;  // samples, over all ranks
  Index min_batch;      // a last batch of fewer samples is dropped; from 1 to batch_size
  Index rank, world;    // of `world` ranks
};

// Consecutive positions in an epoch's order.
struct SampleRange {
  std::uint64_t first;
  Index count;
};

// A position between two batches: the next one begins `position` samples into the epoch, counted
// over all ranks.
struct Place {
  Seed seed;
  std::uint64_t epoch;
  Index position;
};

// Divides an epoch into batches. A batch is identified by the position of its first sample.
class Batching {
 public:
  explicit Batching(const BatchOptions& options)
      : options_(options),
        last_begin_(options.n - options.min_batch) {}

  bool has(Index position) const noexcept { return position <= last_begin_; }

  // The position of the next batch; n if there is none.
  Index next(Index position) const noexcept {
    const Index end = position + options_.batch_size;
    return has(end) ? end : options_.n;
  }

  // The number of batches from a position to the end of the epoch.
  Index remaining(Index position) const noexcept {
    return has(position) ? (last_begin_ - position) / options_.batch_size + 1 : 0;
  }

  // This rank's part of a batch.
  SampleRange samples(Index position) const noexcept {
    const Index rest = options_.n - position;
    const Index count = rest < options_.batch_size ? rest : options_.batch_size;
    const Index from = part_begin(count, options_.rank);
    return {std::uint64_t(position + from), part_begin(count, options_.rank + 1) - from};
  }

  // The number of samples in a rank's largest part.
  Index max_count() const noexcept {
    const Index count = options_.n < options_.batch_size ? options_.n : options_.batch_size;
    return count / options_.world + (count % options_.world != 0);
  }

  // The same place, but the end of an epoch becomes the beginning of the next.
  Place normalized(Place place) const noexcept {
    if (place.position > 0 && !has(place.position)) return {place.seed, place.epoch + 1, 0};
    return place;
  }

 private:
  // count*rank/world without overflow in the product.
  Index part_begin(Index count, Index rank) const noexcept {
    const Index world = options_.world;
    return count / world * rank + count % world * rank / world;
  }

  const BatchOptions options_;
  const Index last_begin_;  // the last position at which a batch begins
};

}  // namespace fastoptim
