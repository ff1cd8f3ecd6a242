// Loads batches of shuffled rows into recycled buffers, on demand or ahead of time.
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

// Buffers of one size, for the batches of one array. Keeps a few free ones for the next batches.
class BufferPool {
 public:
  BufferPool(Index bytes, std::size_t max_free) : bytes_(bytes), max_free_(max_free) {
    free_.reserve(max_free);
  }
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  char* acquire();
  void release(char* buffer) noexcept;

 private:
  const Index bytes_;
  const std::size_t max_free_;
  std::vector<char*> free_;
};

// RAII: a buffer, which the destructor returns to its pool. Keeps the pool alive.
class Buffer {
 public:
  explicit Buffer(std::shared_ptr<BufferPool> pool)
      : pool_(std::move(pool)),
        data_(pool_->acquire()) {}
  Buffer(Buffer&& other) noexcept : pool_(std::move(other.pool_)), data_(other.data_) {}
  Buffer& operator=(Buffer&&) = delete;
  ~Buffer() {
    if (pool_) pool_->release(data_);
  }
  char* data() const noexcept { return data_; }

 private:
  std::shared_ptr<BufferPool> pool_;
  char* data_;
};

using Batch = std::vector<Buffer>;  // one for each array

// A thread that loads batches ahead of their use, with its queue of tasks.
class PrefetchThread {
 public:
  using Task = std::packaged_task<Batch()>;
  ~PrefetchThread() { stop(); }

  // Starts the thread unless it runs. Returns whether it runs.
  bool start() noexcept;
  void submit(const void* owner, Task task);
  // Removes the owner's tasks from the queue; one that already runs goes on.
  void cancel(const void* owner) noexcept;
  // Ends the thread for good, after the task that runs.
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

// What all passes over the same arrays share: the buffers and the prefetch thread. Must outlive the
// passes.
class BatchLoader {
 public:
  // mapped: those of the arrays that map files, to be read ahead window by window. max_count: the
  // samples of the largest batch. prefetch: the batches that are loaded ahead.
  BatchLoader(std::vector<Rows> arrays, std::vector<Rows> mapped, const OrderOptions& options,
              Index max_count, int prefetch);

  // Ends the prefetch thread. From then on only EpochLoader::load_batch reads the arrays.
  void stop() noexcept {
    if (PrefetchThread* const thread = prefetch_thread_.find()) thread->stop();
  }

 private:
  friend class EpochLoader;

  // The order of an epoch's rows, and what reads the mapped arrays ahead in that order.
  struct Epoch {
    Epoch(const OrderOptions& options, const Seed& seed, std::uint64_t epoch)
        : order(options, seed, epoch) {}
    RowOrder order;
    std::unique_ptr<ReadAhead> read_ahead;
  };
  PrefetchThread& prefetch_thread() {
    return prefetch_thread_.get([] { return PrefetchThread(); });
  }
  Batch acquire_buffers() const;
  void fill(Batch& batch, const SampleRange& samples, const Epoch& epoch);

  const std::vector<Rows> arrays_, mapped_;
  const OrderOptions options_;
  std::vector<std::shared_ptr<BufferPool>> pools_;
  WakePolicy wake_policy_{serial_below_bytes, wake_from_bytes};
  PerProcess<PrefetchThread> prefetch_thread_;
};

// Loads the batches of one epoch, one after another.
class EpochLoader {
 public:
  EpochLoader(BatchLoader& loader, const Seed& seed, std::uint64_t epoch, bool read_ahead);
  EpochLoader(const EpochLoader&) = delete;
  ~EpochLoader() { cancel_prefetches(); }

  // Returns a batch: the result of the oldest prefetch if that is of these samples, else a batch
  // gathered now.
  Batch load_batch(const SampleRange& samples);
  // Has the prefetch thread load a batch, unless that is under way. Does nothing if there is no
  // thread or memory for it: load_batch() then gathers the batch.
  void prefetch(const SampleRange& samples) noexcept;

 private:
  void cancel_prefetches() noexcept;

  BatchLoader& loader_;
  const std::shared_ptr<BatchLoader::Epoch> epoch_;
  struct Pending {
    std::uint64_t first;  // the first sample
    std::future<Batch> batch;
  };
  std::deque<Pending> pending_;
};

}  // namespace fastoptim
