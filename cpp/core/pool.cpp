#include "pool.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "../kernels/constants.hpp"
#include "affinity.hpp"
#include "wake_policy.hpp"
#include "work_stealing.hpp"

namespace fastoptim {
namespace {

using Clock = std::chrono::steady_clock;

// The processor's hint that a thread spins.
inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until done() or for spin_time; returns whether done() came true. The time is measured by
// the clock, since a pause takes from 1 to 140 cycles, depending on the processor. The clock is
// read only once in 32 pauses, which are 1.5 us at most: a read takes some 25 ns, during which
// done() is not polled.
template <class Done>
bool spin_until(const Done& done) {
  constexpr int pauses = 32;
  if (done()) return true;
  const Clock::time_point end = Clock::now() + spin_time;
  do {
    for (int k = 0; k < pauses; ++k) {
      pause();
      if (done()) return true;
    }
  } while (Clock::now() < end);
  return false;
}

// After the system has refused a thread or memory for it, the time until the pool asks again.
constexpr std::chrono::seconds retry_after{1};

// A job, and the number of equal contiguous shares that its range is divided into.
struct SharedJob {
  const Job& job;
  const int n_shares;
};

// Worker threads that sleep between jobs. The caller takes the first share itself, and at the end
// waits only for workers that have joined the job: a worker whose processor is busy elsewhere, or
// that has no share in the job, costs nothing. That is the difference to an OpenMP region, whose
// closing barrier waits for every thread.
class Pool final : public ThreadBackend {
 public:
  // Also returns false while another thread uses the pool, or when a body calls parallel_for.
  bool run_job(const Job& job) noexcept override {
    if (in_use_.exchange(true)) return false;
    const int n_shares = affinity_.place(std::min(job.n_threads, start_threads(job.n_threads)));
    if (n_shares > 1) share_out({job, n_shares});
    in_use_.store(false);
    return n_shares > 1;
  }

 private:
  // `next` and the rest lie on cache lines of their own, against false sharing.
  // NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
  struct alignas(cache_line) Worker {
    std::atomic<Index> next{0};  // the first element of its share that no thread has claimed
    alignas(cache_line) std::atomic<bool> asleep{false};
    std::mutex mutex;
    std::condition_variable changed;
  };

  // Starts threads up to the wanted number, and returns how many there are, the caller included.
  int start_threads(int wanted) noexcept {
    if (int(workers_.size()) < wanted && Clock::now() >= retry_at_) try {
        workers_.reserve(std::size_t(wanted));
        affinity_.reserve(std::size_t(wanted));
        while (int(workers_.size()) < wanted) {
          auto worker = std::make_unique<Worker>();
          const int index = int(workers_.size());
          if (index > 0) {
            std::thread thread(&Pool::serve, this, worker.get(), index);
            affinity_.add(thread.native_handle());
            thread.detach();
          }
          workers_.push_back(std::move(worker));
        }
      } catch (const std::exception&) {  // the threads that exist do the work
        retry_at_ = Clock::now() + retry_after;
      }
    return int(workers_.size());
  }

  // Publishes a job, works on it, and waits for the workers that joined.
  void share_out(const SharedJob& shared) noexcept {
    for (int k = 0; k < shared.n_shares; ++k)
      workers_[std::size_t(k)]->next.store(0, std::memory_order_relaxed);
    job_.store(&shared);
    call_.store((call_.load() / max_shares + 1) * max_shares + std::uint64_t(shared.n_shares));
    for (int k = 1; k < shared.n_shares; ++k) {
      // A worker sets `asleep` before it checks call_ a last time: either that check finds this
      // call, or this load finds the worker asleep.
      Worker& worker = *workers_[std::size_t(k)];
      if (!worker.asleep.load()) continue;
      {
        const std::lock_guard<std::mutex> lock(worker.mutex);
      }
      worker.changed.notify_one();
    }
    work(shared, 0);
    job_.store(nullptr);
    // A worker increments n_joined_ before it loads job_: either it loads null, or this loop waits
    // for it.
    const auto done = [this] { return n_joined_.load() == 0; };
    if (!spin_until(done))
      while (!done()) std::this_thread::yield();
  }

  void work(const SharedJob& shared, int own_share) noexcept {
    work_off(shared.job, shared.n_shares, own_share, [this](int share) -> std::atomic<Index>& {
      return workers_[std::size_t(share)]->next;
    });
  }

  // The loop of worker thread `index`.
  void serve(Worker* self, int index) noexcept {
    for (std::uint64_t seen = 0;;) {
      const auto called = [&] {
        const std::uint64_t call = call_.load();
        return call != seen && std::uint64_t(index) < call % max_shares;
      };
      if (!spin_until(called)) {
        std::unique_lock<std::mutex> lock(self->mutex);
        self->asleep.store(true);
        self->changed.wait(lock, called);
        self->asleep.store(false);
      }
      seen = call_.load();
      n_joined_.fetch_add(1);
      if (const SharedJob* const shared = job_.load(); shared && index < shared->n_shares) {
        set_float_control(shared->job.float_control);  // not restored: the thread runs only jobs
        work(*shared, index);
      }
      n_joined_.fetch_sub(1);
    }
  }

  static constexpr std::uint64_t max_shares = 1 << 16;

  std::atomic<bool> in_use_{false};
  std::atomic<const SharedJob*> job_{nullptr};
  std::atomic<std::uint64_t> call_{0};  // number of jobs so far * max_shares + shares of the last
  std::atomic<int> n_joined_{0};        // workers that may use *job_
  // Changed only by the thread that set in_use_. The first entry stands for the caller, without a
  // thread.
  std::vector<std::unique_ptr<Worker>> workers_;
  Clock::time_point retry_at_{};
  Affinity affinity_;  // likewise
};

}  // namespace

// Never destroyed, because its threads outlive main. In static memory, since the heap may be
// exhausted when the first job comes.
ThreadBackend& thread_pool() noexcept {
  alignas(Pool) static char memory[sizeof(Pool)];
  static Pool& pool = *new (memory) Pool;
  return pool;
}

}  // namespace fastoptim
