#include "batch_loader.hpp"

#include <algorithm>
#include <cstdlib>
#include <exception>

#include "../core/memory.hpp"

namespace fastoptim {
namespace {

// Guards every pool of buffers, for a few instructions at a time. The thread that forks holds it
// meanwhile, so that a child finds it free, and the pools as they should be: a batch that was made
// in the parent may be dropped in the child.
std::mutex& pools_mutex = *new std::mutex;  // never destroyed: batches may outlive main

[[maybe_unused]] const int registered = pthread_atfork(
    [] { pools_mutex.lock(); }, [] { pools_mutex.unlock(); }, [] { pools_mutex.unlock(); });

// Large buffers of loaders that are gone, for the next one: a loop over epochs that makes a loader
// for each would have the system zero fresh pages every time. An epoch of 128 MiB in batches of
// 24 MiB took 374 ns a row of 3 KiB with fresh buffers, and 200 ns with these.
constexpr Index spare_from = 8 << 20, spare_limit = 64 << 20;

// All under pools_mutex.
class SpareBuffers {
 public:
  char* take(Index bytes) {
    for (auto spare = spares_.begin(); spare != spares_.end(); ++spare)
      if (spare->bytes == bytes) {
        char* buffer = spare->buffer;
        total_ -= bytes;
        spares_.erase(spare);
        return buffer;
      }
    return nullptr;
  }

  // The oldest go when there are too many.
  void keep(char* buffer, Index bytes) noexcept try {
    if (bytes < spare_from || bytes > spare_limit) return std::free(buffer);
    for (; total_ + bytes > spare_limit; spares_.pop_front()) {
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

SpareBuffers& spare_buffers = *new SpareBuffers;  // never destroyed, as above

}  // namespace

BufferPool::~BufferPool() {
  const std::lock_guard<std::mutex> lock(pools_mutex);
  for (char* buffer : free_) spare_buffers.keep(buffer, bytes_);
}

char* BufferPool::take() {
  {
    const std::lock_guard<std::mutex> lock(pools_mutex);
    if (!free_.empty()) {
      char* buffer = free_.back();
      free_.pop_back();
      return buffer;
    }
    if (char* spare = spare_buffers.take(bytes_)) return spare;
  }
  return allocate(std::size_t(bytes_));
}

void BufferPool::give_back(char* buffer) noexcept {
  {
    const std::lock_guard<std::mutex> lock(pools_mutex);
    if (free_.size() < keep_) {
      free_.push_back(buffer);  // within the capacity: see the constructor
      return;
    }
  }
  std::free(buffer);
}

bool Background::start() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (stopped_) return false;
  try {
    if (!thread_.joinable()) thread_ = std::thread(&Background::serve, this);
  } catch (const std::exception&) {  // none to be had now
    return false;
  }
  return true;
}

void Background::add(const void* owner, Task task) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back({owner, std::move(task)});
  }
  changed_.notify_one();
}

void Background::drop(const void* owner) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  jobs_.erase(std::remove_if(jobs_.begin(), jobs_.end(),
                             [&](const Job& job) { return job.owner == owner; }),
              jobs_.end());
}

void Background::stop() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Background::serve() {
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
  // A loop holds one batch while the next is made; more only serve who keeps some for a while.
  const std::size_t keep = 3 + std::size_t(prefetch);
  for (const Rows& array : arrays_)
    pools_.push_back(std::make_shared<BufferPool>(array.row_bytes() * max_count, keep));
}

Batch BatchLoader::buffers() const {
  Batch batch;
  batch.reserve(pools_.size());
  for (const auto& pool : pools_) batch.emplace_back(pool);
  return batch;
}

void BatchLoader::fill(Batch& batch, const Samples& samples, const Reading& reading) {
  std::vector<char*> data;
  data.reserve(batch.size());
  for (const Buffer& buffer : batch) data.push_back(buffer.data());
  for (Index done = 0; done < samples.count;) {
    const std::uint64_t position = samples.first + std::uint64_t(done);
    const auto window = reading.order.window_at(position);
    if (reading.read_ahead) reading.read_ahead->enter(reading.order, *window);
    const Index size = std::min(samples.count - done, Index(window->end - position));
    gather(arrays_, *window, position, size, data, done, samples.count, pace_);
    done += size;
  }
}

Walk::Walk(BatchLoader& loader, const Seed& seed, std::uint64_t epoch, bool read_ahead)
    : loader_(loader),
      reading_(std::make_shared<BatchLoader::Reading>(loader.options_, seed, epoch)) {
  if (read_ahead && !loader.mapped_.empty())
    reading_->read_ahead = std::make_unique<ReadAhead>(loader.mapped_);
}

// What was asked for and is not wanted any more.
void Walk::forget() noexcept {
  if (pending_.empty()) return;
  loader_.background().drop(this);
  pending_.clear();
}

Batch Walk::take(const Samples& samples) {
  if (!pending_.empty() && pending_.front().first == samples.first) {
    std::future<Batch> batch = std::move(pending_.front().batch);
    pending_.pop_front();
    return batch.get();
  }
  forget();
  Batch batch = loader_.buffers();
  loader_.fill(batch, samples, *reading_);
  return batch;
}

void Walk::prefetch(const Samples& samples) noexcept try {
  for (const Pending& pending : pending_)
    if (pending.first == samples.first) return;
  Background& background = loader_.background();
  if (!background.start()) return;
  // The buffers are taken here, so that they are freed here when there is no memory for all.
  Background::Task ahead(
      [&loader = loader_, samples, batch = loader_.buffers(), reading = reading_]() mutable {
        loader.fill(batch, samples, *reading);
        return std::move(batch);
      });
  pending_.push_back({samples.first, ahead.get_future()});
  try {
    background.add(this, std::move(ahead));
  } catch (const std::bad_alloc&) {
    pending_.pop_back();
  }
} catch (const std::exception&) {
}

}  // namespace fastoptim
