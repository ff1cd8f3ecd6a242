#include "parallel.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

namespace fastoptim {
namespace {

std::atomic<int> threads{1};
std::atomic<unsigned> n_forks{0};

[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { ++n_forks; });

#ifdef FASTOPTIM_THREADS

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A share is handed out in so many pieces, so that whoever is done early can take over.
constexpr Index pieces = 16;

// How often a worker looks for the next job before it sleeps: some 20 us, which covers the time
// between the steps of a tight loop and is gone before others miss the processor.
constexpr int spins = 500;

// What threads work off together: a share for each, handed out piece by piece, one's own share
// first (its memory lies close), then whatever is left of the others'.
class Job {
 public:
  Job(Index n, int shares, Index grain, Body body, const void* context)
      : n_(n), grain_(grain), n_shares_(shares), body_(body), context_(context),
        next_(std::make_unique<Next[]>(std::size_t(shares))) {}

  void work(int first) noexcept {
    for (int k = 0; k < n_shares_; ++k) {
      const int share = (first + k) % n_shares_;
      const Index begin = n_ * share / n_shares_, size = n_ * (share + 1) / n_shares_ - begin;
      const Index piece = std::max(grain_, (size + pieces - 1) / pieces);
      for (;;) {
        const Index at = next_[share].value.fetch_add(piece, std::memory_order_relaxed);
        if (at >= size) break;
        body_(context_, begin + at, begin + std::min(at + piece, size));
      }
    }
  }

 private:
  struct alignas(64) Next {  // a cache line each
    std::atomic<Index> value{0};
  };
  const Index n_, grain_;
  const int n_shares_;
  const Body body_;
  const void* const context_;
  const std::unique_ptr<Next[]> next_;
};

// Workers that sleep between jobs. The caller works too, and waits at the end for those workers
// only that have taken part: one whose processor is busy elsewhere costs nothing.
class Pool {
 public:
  // False if the pool is in use, by another thread or by a job itself: the caller works alone.
  bool run(Job& job, int n_workers) {
    if (in_use_.exchange(true)) return false;
    grow(n_workers);
    job_.store(&job);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      wanted_ = n_workers;
      ticket_.fetch_add(1);
    }
    if (sleepers_ > 0) changed_.notify_all();
    job.work(0);
    job_.store(nullptr);
    // A worker counts itself in before it looks for the job: either it finds none now, or it is
    // seen here.
    for (int k = 0; taking_part_.load() > 0; ++k) k < 1000 ? pause() : std::this_thread::yield();
    in_use_.store(false);
    return true;
  }

 private:
  void grow(int n_workers) {
    try {
      for (; n_started_ < n_workers; ++n_started_)
        std::thread(&Pool::serve, this, n_started_ + 1).detach();
    } catch (const std::system_error&) {
    }  // the system gives no more threads: those that there are do the work
  }

  void serve(int number) {
    for (unsigned seen = 0;;) {
      for (int k = 0; k < spins && ticket_.load() == seen; ++k) pause();
      if (ticket_.load() == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        ++sleepers_;
        changed_.wait(lock, [&] { return ticket_.load() != seen; });
        --sleepers_;
      }
      seen = ticket_.load();
      taking_part_.fetch_add(1);
      if (Job* const job = job_.load(); job && number <= wanted_.load()) job->work(number);
      taking_part_.fetch_sub(1);
    }
  }

  std::atomic<bool> in_use_{false};
  std::atomic<Job*> job_{nullptr};
  std::atomic<int> taking_part_{0}, wanted_{0}, sleepers_{0};
  std::atomic<unsigned> ticket_{0};
  int n_started_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
};

// Never destroyed: its threads outlive main.
Pool& pool() {
  static Pool& pool = *new Pool;
  return pool;
}

#endif

}  // namespace

int num_threads() noexcept { return forked() ? 1 : threads.load(); }
void set_num_threads(int n) noexcept { threads = n; }
unsigned forks() noexcept { return n_forks.load(std::memory_order_relaxed); }

void parallel_for(Index n, bool serial, Index grain, Body body, const void* context) {
#ifdef FASTOPTIM_THREADS
  const int shares = int(std::min<Index>(n, num_threads()));
  if (!serial && shares > 1) {
    Job job(n, shares, grain, body, context);
    if (pool().run(job, shares - 1)) return;
  }
#else
  (void)serial, (void)grain;
#endif
  if (n > 0) body(context, 0, n);
}

}  // namespace fastoptim
