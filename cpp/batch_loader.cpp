#include "batch_loader.hpp"

#include <algorithm>
#include <cstdlib>
#include <exception>

#include "memory.hpp"

namespace fastoptim {
namespace {

void run(std::mutex& mutex, std::condition_variable& changed, const bool& stop,
         std::deque<std::packaged_task<Batch()>>& jobs) {
  for (;;) {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return stop || !jobs.empty(); });
    if (stop) return;
    std::packaged_task<Batch()> next = std::move(jobs.front());
    jobs.pop_front();
    lock.unlock();
    next();
  }
}

// Large buffers of loaders that are gone, for the next one: a loop over epochs that makes a loader
// for each would have the system zero fresh pages every time. An epoch of 128 MiB in batches of
// 24 MiB took 374 ns a row of 3 KiB with fresh buffers, and 200 ns with these.
constexpr Index spare_from = 8 << 20, spare_limit = 64 << 20;

class SpareBuffers {
 public:
  char* take(Index bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
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
    const std::lock_guard<std::mutex> lock(mutex_);
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
  std::mutex mutex_;
  std::deque<Spare> spares_;
  Index total_ = 0;
};

// Never destroyed: batches may outlive main.
SpareBuffers& spare_buffers() {
  static SpareBuffers& buffers = *new SpareBuffers;
  return buffers;
}

}  // namespace

BufferPool::~BufferPool() {
  for (char* buffer : free_) spare_buffers().keep(buffer, bytes_);
}

char* BufferPool::take() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!free_.empty()) {
      char* buffer = free_.back();
      free_.pop_back();
      return buffer;
    }
  }
  if (char* spare = spare_buffers().take(bytes_)) return spare;
  return allocate(std::size_t(bytes_));
}

void BufferPool::give_back(char* buffer) noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.size() < keep_) {
      free_.push_back(buffer);  // within the capacity: see the constructor
      return;
    }
  }
  std::free(buffer);
}

BatchLoader::BatchLoader(std::vector<Rows> arrays, std::vector<Rows> mapped,
                         const OrderOptions& options, Index max_count, int prefetch)
    : arrays_(std::move(arrays)), mapped_(std::move(mapped)), options_(options) {
  // A loop holds one batch while the next is made; more only serve who keeps some for a while.
  const std::size_t keep = 3 + std::size_t(prefetch);
  for (const Rows& array : arrays_)
    pools_.push_back(std::make_shared<BufferPool>(array.row_bytes() * max_count, keep));
  start();
}

BatchLoader::~BatchLoader() {
  if (forks() == born_)
    stop();
  else
    (void)shared_.release();
}

void BatchLoader::start() {
  shared_ = std::make_unique<Shared>();
  if (!mapped_.empty()) shared_->read_ahead = std::make_unique<ReadAhead>(mapped_);
  born_ = forks();
}

void BatchLoader::stop() noexcept {
  if (!shared_->thread.joinable()) return;
  {
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    shared_->stop = true;
  }
  shared_->changed.notify_one();
  shared_->thread.join();
}

// A forked child has the parent's locks as they were, perhaps locked, and none of its threads.
// What they guard is left alone, for ever, and made anew.
void BatchLoader::leave_parent() {
  if (forks() == born_) return;
  for (Pending& pending : pending_) new std::future<Batch>(std::move(pending.batch));
  pending_.clear();
  (void)shared_.release();
  start();
}

Batch BatchLoader::buffers() const {
  Batch batch;
  batch.reserve(pools_.size());
  for (const auto& pool : pools_) batch.emplace_back(pool);
  return batch;
}

std::shared_ptr<const RowOrder> BatchLoader::order_of(const Request& request) {
  auto& order = shared_->order;
  if (!order || order->epoch() != request.epoch || order->seed().low != request.seed.low ||
      order->seed().high != request.seed.high)
    order = std::make_shared<RowOrder>(options_, request.seed, request.epoch);
  return order;
}

void BatchLoader::fill(Batch& batch, const RowOrder& order, const Request& request,
                       ReadAhead* read_ahead) {
  std::vector<char*> data;
  data.reserve(batch.size());
  for (const Buffer& buffer : batch) data.push_back(buffer.data());
  for (Index done = 0; done < request.count;) {
    const std::uint64_t position = request.first + std::uint64_t(done);
    const auto window = order.window_at(position);
    if (read_ahead) read_ahead->enter(order, *window);
    const Index size = std::min(request.count - done, Index(window->end - position));
    gather(arrays_, *window, position, size, data, done, request.count, pace_);
    done += size;
  }
}

Batch BatchLoader::take(const Request& request) {
  leave_parent();
  if (!pending_.empty() && pending_.front().request == request) {
    std::future<Batch> batch = std::move(pending_.front().batch);
    pending_.pop_front();
    return batch.get();
  }
  if (!pending_.empty()) {  // the position was moved: nothing that was asked for is wanted
    {
      const std::lock_guard<std::mutex> lock(shared_->mutex);
      shared_->jobs.clear();
    }
    pending_.clear();
  }
  Batch batch = buffers();
  fill(batch, *order_of(request), request, shared_->read_ahead.get());
  return batch;
}

// Only a wish: without memory or a thread, the batch is gathered when it is taken.
void BatchLoader::prefetch(const Request& request) try {
  leave_parent();
  for (const Pending& pending : pending_)
    if (pending.request == request) return;
  // Before anything is asked of it.
  if (!shared_->thread.joinable())
    shared_->thread = std::thread([shared = shared_.get()] {
      run(shared->mutex, shared->changed, shared->stop, shared->jobs);
    });
  // The buffers are taken here, so that the thread never holds a pool's lock.
  std::packaged_task<Batch()> ahead([this, request, batch = buffers(), order = order_of(request),
                                     read_ahead = shared_->read_ahead.get()]() mutable {
    fill(batch, *order, request, read_ahead);
    return std::move(batch);
  });
  pending_.push_back({request, ahead.get_future()});
  try {
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    shared_->jobs.push_back(std::move(ahead));
  } catch (...) {
    pending_.pop_back();
    throw;
  }
  shared_->changed.notify_one();
} catch (const std::exception&) {
}

}  // namespace fastoptim
