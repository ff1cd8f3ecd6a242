// Where a walk through epochs of batches is, and which samples come next.
#pragma once

#include <cstdint>

#include "permutation.hpp"

namespace fastoptim {

struct BatchOptions {
  Index n, batch_size;  // over all ranks
  Index min_batch;      // no last batch of fewer samples, over all ranks; from 1 to batch_size
  Index rank, world;
};

struct Samples {
  std::uint64_t first;
  Index count;
};

// `position` samples of an epoch are taken, over all ranks.
struct Place {
  Seed seed;
  std::uint64_t epoch;
  Index position;
};

// The batches of an epoch. A batch is named by the position at which it begins.
class Batching {
 public:
  explicit Batching(const BatchOptions& options)
      : options_(options),
        last_begin_(options.n - options.min_batch) {}

  bool has(Index position) const noexcept { return position <= last_begin_; }

  // The batch after that one; n if there is none.
  Index after(Index position) const noexcept {
    const Index next = position + options_.batch_size;
    return has(next) ? next : options_.n;
  }

  // How many batches are left.
  Index left(Index position) const noexcept {
    return has(position) ? (last_begin_ - position) / options_.batch_size + 1 : 0;
  }

  // This rank's part of a batch.
  Samples samples(Index position) const noexcept {
    const Index rest = options_.n - position;
    const Index count = rest < options_.batch_size ? rest : options_.batch_size;
    const Index from = part_begin(count, options_.rank);
    return {std::uint64_t(position + from), part_begin(count, options_.rank + 1) - from};
  }

  Index longest() const noexcept {  // samples of a part
    const Index count = options_.n < options_.batch_size ? options_.n : options_.batch_size;
    return count / options_.world + (count % options_.world != 0);
  }

  // The end of an epoch is the beginning of the next.
  Place next_batch(Place place) const noexcept {
    if (place.position > 0 && !has(place.position)) return {place.seed, place.epoch + 1, 0};
    return place;
  }

 private:
  // count*rank/world, where that product may not fit.
  Index part_begin(Index count, Index rank) const noexcept {
    const Index world = options_.world;
    return count / world * rank + count % world * rank / world;
  }

  const BatchOptions options_;
  const Index last_begin_;  // the last position at which a batch begins
};

}  // namespace fastoptim
