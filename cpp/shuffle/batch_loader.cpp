#include "batch_loader.hpp"

#include <algorithm>
#include <cstdlib>
#include <exception>

#include "../core/memory.hpp"

namespace fastoptim {
namespace {

// Guards all buffer pools, and is held for a few instructions at a time. A thread that forks holds
// it during the fork, so that in the child it is free and the pools are consistent: a batch made in
// the parent may be released in the child.
// Never destroyed, because batches may outlive main.
// NOLINTNEXTLINE(bugprone-throwing-static-initialization)
std::mutex& pools_mutex = *new std::mutex;

void lock_pools() noexcept { pools_mutex.lock(); }
void unlock_pools() noexcept { pools_mutex.unlock(); }

[[maybe_unused]] const int registered = pthread_atfork(lock_pools, unlock_pools, unlock_pools);

// The smallest buffer that is cached, and the largest total size of the cache.
constexpr Index min_spare_bytes = 8 << 20, max_spare_total = 64 << 20;

// A cache of the large buffers of destroyed loaders. Without it, a loop that makes a loader for each
// epoch would have the system zero fresh pages every time: an epoch of 128 MiB in batches of 24 MiB
// took 374 ns a row of 3 KiB with fresh buffers, and 200 ns with cached ones. Used under
// pools_mutex.
class SpareBuffers {
 public:
  // Returns a buffer of exactly that size, or null.
  char* find(Index bytes) {
    for (auto spare = spares_.begin(); spare != spares_.end(); ++spare)
      if (spare->bytes == bytes) {
        char* buffer = spare->buffer;
        total_ -= bytes;
        spares_.erase(spare);
        return buffer;
      }
    return nullptr;
  }

  // Takes ownership of a buffer; frees the oldest ones if the cache is full.
  void add(char* buffer, Index bytes) noexcept try {
    if (bytes < min_spare_bytes || bytes > max_spare_total) return std::free(buffer);
    for (; total_ + bytes > max_spare_total; spares_.pop_front()) {
      total_ -= spares_.front().bytes;
      std::free(spares_.front().buffer);
    }
    spares_.push_back({buffer, bytes});
    total_ += bytes;
  } catch (const std::bad_alloc&) {
    std::free(buffer);
  }

 private:
  struct Spare {
    char* buffer;
    Index bytes;
  };
  std::deque<Spare> spares_;
  Index total_ = 0;
};

// Never destroyed, like pools_mutex.
// NOLINTNEXTLINE(bugprone-throwing-static-initialization)
SpareBuffers& spare_buffers = *new SpareBuffers;

}  // namespace

BufferPool::~BufferPool() {
  const std::lock_guard<std::mutex> lock(pools_mutex);
  for (char* buffer : free_) spare_buffers.add(buffer, bytes_);
}

char* BufferPool::acquire() {
  {
    const std::lock_guard<std::mutex> lock(pools_mutex);
    if (!free_.empty()) {
      char* buffer = free_.back();
      free_.pop_back();
      return buffer;
    }
    if (char* spare = spare_buffers.find(bytes_)) return spare;
  }
  return allocate(std::size_t(bytes_));
}

void BufferPool::release(char* buffer) noexcept {
  {
    const std::lock_guard<std::mutex> lock(pools_mutex);
    if (free_.size() < max_free_) {
      free_.push_back(buffer);  // never reallocates: the constructor reserved the capacity
      return;
    }
  }
  std::free(buffer);
}

bool PrefetchThread::start() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (stopped_) return false;
  try {
    if (!thread_.joinable()) thread_ = std::thread(&PrefetchThread::serve, this);
  } catch (const std::exception&) {  // the system has no thread or memory for it
    return false;
  }
  return true;
}

void PrefetchThread::submit(const void* owner, Task task) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back({owner, std::move(task)});
  }
  changed_.notify_one();
}

void PrefetchThread::cancel(const void* owner) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  jobs_.erase(std::remove_if(jobs_.begin(), jobs_.end(),
                             [&](const Job& job) { return job.owner == owner; }),
              jobs_.end());
}

void PrefetchThread::stop() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void PrefetchThread::serve() {
  for (;;) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || !jobs_.empty(); });
    if (stopped_) return;
    Task task = std::move(jobs_.front().task);
    jobs_.pop_front();
    lock.unlock();
    task();
  }
}

BatchLoader::BatchLoader(std::vector<Rows> arrays, std::vector<Rows> mapped,
                         const OrderOptions& options, Index max_count, int prefetch)
    : arrays_(std::move(arrays)),
      mapped_(std::move(mapped)),
      options_(options) {
  // A training loop holds one batch while the next is loaded, so two buffers circulate beside those
  // that are prefetched; a third serves callers that keep a batch longer.
  const std::size_t max_free = 3 + std::size_t(prefetch);
  for (const Rows& array : arrays_)
    pools_.push_back(std::make_shared<BufferPool>(array.row_bytes() * max_count, max_free));
}

Batch BatchLoader::acquire_buffers() const {
  Batch batch;
  batch.reserve(pools_.size());
  for (const auto& pool : pools_) batch.emplace_back(pool);
  return batch;
}

void BatchLoader::fill(Batch& batch, const SampleRange& samples, const Epoch& epoch) {
  std::vector<char*> data;
  data.reserve(batch.size());
  for (const Buffer& buffer : batch) data.push_back(buffer.data());
  for (Index done = 0; done < samples.count;) {
    const std::uint64_t position = samples.first + std::uint64_t(done);
    const auto window = epoch.order.window_at(position);
    if (epoch.read_ahead) epoch.read_ahead->enter(epoch.order, *window);
    const Index size = std::min(samples.count - done, Index(window->end - position));
    gather_batch(arrays_, *window, position, size, data, done, samples.count, wake_policy_);
    done += size;
  }
}

EpochLoader::EpochLoader(BatchLoader& loader, const Seed& seed, std::uint64_t epoch,
                         bool read_ahead)
    : loader_(loader),
      epoch_(std::make_shared<BatchLoader::Epoch>(loader.options_, seed, epoch)) {
  if (read_ahead && !loader.mapped_.empty())
    epoch_->read_ahead = std::make_unique<ReadAhead>(loader.mapped_);
}

void EpochLoader::cancel_prefetches() noexcept {
  if (pending_.empty()) return;
  loader_.prefetch_thread().cancel(this);
  pending_.clear();
}

Batch EpochLoader::load_batch(const SampleRange& samples) {
  if (!pending_.empty() && pending_.front().first == samples.first) {
    std::future<Batch> batch = std::move(pending_.front().batch);
    pending_.pop_front();
    return batch.get();
  }
  cancel_prefetches();
  Batch batch = loader_.acquire_buffers();
  loader_.fill(batch, samples, *epoch_);
  return batch;
}

void EpochLoader::prefetch(const SampleRange& samples) noexcept try {
  for (const Pending& pending : pending_)
    if (pending.first == samples.first) return;
  PrefetchThread& thread = loader_.prefetch_thread();
  if (!thread.start()) return;
  // The buffers are acquired here, so that this thread releases them if memory runs out.
  PrefetchThread::Task task(
      [&loader = loader_, samples, batch = loader_.acquire_buffers(), epoch = epoch_]() mutable {
        loader.fill(batch, samples, *epoch);
        return std::move(batch);
      });
  pending_.push_back({samples.first, task.get_future()});
  try {
    thread.submit(this, std::move(task));
  } catch (const std::bad_alloc&) {
    pending_.pop_back();
  }
} catch (const std::exception&) {
}

}  // namespace fastoptim
