// Batches of shuffled rows, in memory that is used again, now or ahead of time.
#pragma once

#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "gather.hpp"
#include "read_ahead.hpp"

namespace fastoptim {

// Memory for batches of one array. What is given back is kept for the next batch, a few at most.
class BufferPool {
 public:
  BufferPool(Index bytes, std::size_t keep) : bytes_(bytes), keep_(keep) { free_.reserve(keep); }
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  char* take();
  void give_back(char* buffer) noexcept;

 private:
  const Index bytes_;
  const std::size_t keep_;
  std::mutex mutex_;
  std::vector<char*> free_;
};

// A buffer goes back to its pool with its last owner. The pool outlives it.
class Buffer {
 public:
  explicit Buffer(std::shared_ptr<BufferPool> pool) : pool_(std::move(pool)), data_(pool_->take()) {}
  Buffer(Buffer&& other) noexcept : pool_(std::move(other.pool_)), data_(other.data_) {}
  Buffer& operator=(Buffer&&) = delete;
  ~Buffer() {
    if (pool_) pool_->give_back(data_);
  }
  char* data() const noexcept { return data_; }

 private:
  std::shared_ptr<BufferPool> pool_;
  char* data_;
};

using Batch = std::vector<Buffer>;  // one an array

struct Request {
  Seed seed;
  std::uint64_t epoch, first;
  Index count;
  bool operator==(const Request& o) const noexcept {
    return seed.low == o.seed.low && seed.high == o.seed.high && epoch == o.epoch &&
           first == o.first && count == o.count;
  }
};

class BatchLoader {
 public:
  // `mapped`: those of the arrays that map files, to be read ahead by windows.
  BatchLoader(std::vector<Rows> arrays, std::vector<Rows> mapped, const OrderOptions& options,
              Index max_count, int prefetch);
  ~BatchLoader();

  // The batch, from the background if it was asked for there, in this order; else gathered now.
  Batch take(const Request& request);
  // Asks the background thread for a batch, unless it was asked for. Does without one that cannot
  // be started.
  void prefetch(const Request& request);

 private:
  // All that a background thread may hold locked when the process forks.
  struct Shared {
    std::shared_ptr<const RowOrder> order;
    std::unique_ptr<ReadAhead> read_ahead;
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::packaged_task<Batch()>> jobs;
    bool stop = false;
    std::thread thread;
  };
  void start();
  void leave_parent();
  void stop() noexcept;
  Batch buffers() const;
  std::shared_ptr<const RowOrder> order_of(const Request& request);
  void fill(Batch& batch, const RowOrder& order, const Request& request, ReadAhead* read_ahead);

  const std::vector<Rows> arrays_, mapped_;
  const OrderOptions options_;
  std::vector<std::shared_ptr<BufferPool>> pools_;
  Pace pace_;
  std::unique_ptr<Shared> shared_;
  unsigned born_ = 0;  // after how many forks
  struct Pending {
    Request request;
    std::future<Batch> batch;
  };
  std::deque<Pending> pending_;
};

}  // namespace fastoptim
