// Batches of shuffled rows, in memory that is used again, now or ahead of time.
#pragma once

#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "../core/per_process.hpp"
#include "cursor.hpp"
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
  std::vector<char*> free_;
};

// A buffer goes back to its pool with its last owner. The pool outlives it.
class Buffer {
 public:
  explicit Buffer(std::shared_ptr<BufferPool> pool)
      : pool_(std::move(pool)),
        data_(pool_->take()) {}
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

// A thread that makes batches ahead of their use, and those that wait for it.
class Background {
 public:
  using Task = std::packaged_task<Batch()>;
  ~Background() { stop(); }

  // Whether there is a thread; it is started when there is none yet.
  bool start() noexcept;
  void add(const void* owner, Task task);
  // Drops the owner's tasks, but for the one that runs.
  void drop(const void* owner) noexcept;
  // Ends the thread after the task that runs, for good.
  void stop() noexcept;

 private:
  void serve();

  struct Job {
    const void* owner;
    Task task;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool stopped_ = false;
  std::thread thread_;
};

// What the passes over some arrays have in common: buffers, and a thread. It outlives them.
class BatchLoader {
 public:
  // `mapped`: those of the arrays that map files, to be read ahead by windows.
  BatchLoader(std::vector<Rows> arrays, std::vector<Rows> mapped, const OrderOptions& options,
              Index max_count, int prefetch);

  // Ends the background thread: nothing reads the arrays then but take().
  void stop() noexcept {
    if (Background* const background = background_.find()) background->stop();
  }

 private:
  friend class Walk;

  // What a batch is made by: the order of an epoch, and what reads ahead in it.
  struct Reading {
    Reading(const OrderOptions& options, const Seed& seed, std::uint64_t epoch)
        : order(options, seed, epoch) {}
    RowOrder order;
    std::unique_ptr<ReadAhead> read_ahead;
  };
  Background& background() {
    return background_.get([] { return Background(); });
  }
  Batch buffers() const;
  void fill(Batch& batch, const Samples& samples, const Reading& reading);

  const std::vector<Rows> arrays_, mapped_;
  const OrderOptions options_;
  std::vector<std::shared_ptr<BufferPool>> pools_;
  Pace pace_;
  PerProcess<Background> background_;
};

// A walk through an epoch, batch by batch.
class Walk {
 public:
  Walk(BatchLoader& loader, const Seed& seed, std::uint64_t epoch, bool read_ahead);
  Walk(const Walk&) = delete;
  ~Walk() { forget(); }

  // The batch, from the background if it is the next that was asked for there; else gathered now.
  Batch take(const Samples& samples);
  // Asks the background thread for a batch, unless it was asked for. Without memory or a thread for
  // it, the batch is made when it is taken.
  void prefetch(const Samples& samples) noexcept;

 private:
  void forget() noexcept;

  BatchLoader& loader_;
  const std::shared_ptr<BatchLoader::Reading> reading_;
  struct Pending {
    std::uint64_t first;
    std::future<Batch> batch;
  };
  std::deque<Pending> pending_;
};

}  // namespace fastoptim
