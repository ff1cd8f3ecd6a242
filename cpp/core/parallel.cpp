#include "parallel.hpp"

#include <pthread.h>

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

#include "float_control.hpp"

namespace fastoptim {
namespace {

std::atomic<int> threads{1};
std::atomic<unsigned> n_forks{0};

[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { ++n_forks; });

#ifdef FASTOPTIM_THREADS

using Clock = std::chrono::steady_clock;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until done(), awake, for some 20 us: whether it came. A pause takes from 1 to 140 cycles,
// by processor, so the clock says how long; it is read once in so many pauses, which are 1.5 us at
// most, since reading it takes some 25 ns in which nothing is noticed.
template <class Done>
bool spin_until(const Done& done) {
  constexpr int pauses = 32;
  if (done()) return true;
  const Clock::time_point end = Clock::now() + awake_for;
  do {
    for (int k = 0; k < pauses; ++k) {
      pause();
      if (done()) return true;
    }
  } while (Clock::now() < end);
  return false;
}

// A share is handed out in so many pieces, so that whoever is done early can take over.
constexpr Index pieces = 16;

// Where the system gives no more threads or memory, it is asked again after so long.
constexpr std::chrono::seconds ask_again_after{1};

// What threads work off together: a share for each.
struct Job {
  const Index n, grain;
  const Body body;
  const void* const context;
  const FloatControl float_control;
  int n_shares;
};

// Workers that sleep between jobs. The caller works too, and waits at the end for those workers
// only that have taken part: one whose processor is busy elsewhere costs nothing, nor does one that
// a job has no share for.
class Pool {
 public:
  // False if nobody is there to help: the pool is in use, by another thread or by a job itself, or
  // the system gives no threads. The caller works alone then.
  bool run(Job& job) noexcept {
    if (in_use_.exchange(true)) return false;
    job.n_shares = std::min(job.n_shares, available(job.n_shares));
    const bool shared = job.n_shares > 1;
    if (shared) share_out(job);
    in_use_.store(false);
    return shared;
  }

 private:
  struct alignas(64) Worker {
    std::atomic<Index> next{0};  // of its share of the job: what is not handed out yet
    alignas(64) std::atomic<bool> asleep{false};
    std::mutex mutex;
    std::condition_variable changed;
  };

  // How many threads there are, of so many that are wanted; the caller is the first.
  int available(int wanted) noexcept {
    if (int(workers_.size()) < wanted && Clock::now() >= ask_again_) try {
        workers_.reserve(std::size_t(wanted));
        while (int(workers_.size()) < wanted) {
          auto worker = std::make_unique<Worker>();
          const int number = int(workers_.size());
          if (number > 0) std::thread(&Pool::serve, this, worker.get(), number).detach();
          workers_.push_back(std::move(worker));
        }
      } catch (const std::exception&) {  // those that there are do the work
        ask_again_ = Clock::now() + ask_again_after;
      }
    return int(workers_.size());
  }

  void share_out(const Job& job) noexcept {
    for (int k = 0; k < job.n_shares; ++k)
      workers_[std::size_t(k)]->next.store(0, std::memory_order_relaxed);
    job_.store(&job);
    call_.store((call_.load() / max_shares + 1) * max_shares + std::uint64_t(job.n_shares));
    for (int k = 1; k < job.n_shares; ++k) {
      // A worker says that it sleeps before it looks for a call a last time: either it has found
      // this one, or it is seen here.
      Worker& worker = *workers_[std::size_t(k)];
      if (!worker.asleep.load()) continue;
      {
        const std::lock_guard<std::mutex> lock(worker.mutex);
      }
      worker.changed.notify_one();
    }
    work(job, 0);
    job_.store(nullptr);
    // A worker counts itself in before it looks for the job: either it finds none now, or it is
    // seen here.
    const auto done = [this] { return taking_part_.load() == 0; };
    if (!spin_until(done))
      while (!done()) std::this_thread::yield();
  }

  // One's own share first (its memory lies close), then whatever is left of the others'.
  void work(const Job& job, int first) noexcept {
    for (int k = 0; k < job.n_shares; ++k) {
      const int share = (first + k) % job.n_shares;
      const Index begin = job.n * share / job.n_shares;
      const Index size = job.n * (share + 1) / job.n_shares - begin;
      const Index piece = std::max(job.grain, (size + pieces - 1) / pieces);
      std::atomic<Index>& next = workers_[std::size_t(share)]->next;
      for (;;) {
        const Index at = next.fetch_add(piece, std::memory_order_relaxed);
        if (at >= size) break;
        job.body(job.context, begin + at, begin + std::min(at + piece, size));
      }
    }
  }

  void serve(Worker* self, int number) noexcept {
    for (std::uint64_t seen = 0;;) {
      const auto called = [&] {
        const std::uint64_t call = call_.load();
        return call != seen && std::uint64_t(number) < call % max_shares;
      };
      if (!spin_until(called)) {
        std::unique_lock<std::mutex> lock(self->mutex);
        self->asleep.store(true);
        self->changed.wait(lock, called);
        self->asleep.store(false);
      }
      seen = call_.load();
      taking_part_.fetch_add(1);
      if (const Job* const job = job_.load(); job && number < job->n_shares) {
        set_float_control(job->float_control);  // not back: a worker does nothing else
        work(*job, number);
      }
      taking_part_.fetch_sub(1);
    }
  }

  static constexpr std::uint64_t max_shares = 1 << 16;

  std::atomic<bool> in_use_{false};
  std::atomic<const Job*> job_{nullptr};
  std::atomic<std::uint64_t> call_{0};  // how many jobs there were, and the shares of the last one
  std::atomic<int> taking_part_{0};
  // Of whoever uses the pool. The first stands for the caller, and has no thread.
  std::vector<std::unique_ptr<Worker>> workers_;
  Clock::time_point ask_again_{};
};

// Never destroyed: its threads outlive main. In memory of its own, since there may be no other.
Pool& pool() noexcept {
  alignas(Pool) static char memory[sizeof(Pool)];
  static Pool& pool = *new (memory) Pool;
  return pool;
}

#endif

}  // namespace

int num_threads() noexcept { return forked() ? 1 : threads.load(); }
void set_num_threads(int n) noexcept { threads = n; }
unsigned forks() noexcept { return n_forks.load(std::memory_order_relaxed); }

void parallel_for(Index n, bool serial, Index grain, Body body, const void* context) noexcept {
#ifdef FASTOPTIM_THREADS
  const int shares = int(std::min<Index>(n, num_threads()));
  if (!serial && shares > 1) {
    Job job{n, grain, body, context, float_control(), shares};
    if (pool().run(job)) return;
  }
#else
  (void)serial, (void)grain;
#endif
  if (n > 0) body(context, 0, n);
}

}  // namespace fastoptim
