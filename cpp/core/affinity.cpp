#include "affinity.hpp"

#ifdef FASTOPTIM_AFFINITY

#include <ctime>

namespace fastoptim {
namespace {

// While the caller stays on its processor, the masks are read at most that often, so that changes are
// followed within that time. A read of one takes 0.2 us, and a job on two threads 30 or more.
constexpr long look_every_ms = 10;

// A clock that advances with the scheduler's ticks takes 4 ns to read, the exact one 17.
long coarse_ms() noexcept {
  timespec now{};
  (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return long(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

cpu_set_t both(const cpu_set_t& a, const cpu_set_t& b) noexcept {
  cpu_set_t common;
  CPU_AND(&common, &a, &b);
  return common;
}

}  // namespace

void Affinity::add(pthread_t worker) noexcept {
  Worker added{worker, {}, false, {}};
  (void)pthread_getaffinity_np(worker, sizeof added.mask, &added.mask);
  workers_.push_back(added);
}

// Whether the thread or its processor is another one, or it is time to look at the masks again.
// Takes 6 ns.
bool Affinity::caller_moved() noexcept {
  return sched_getcpu() != processor_ || pthread_self() != caller_ ||
         coarse_ms() - looked_at_ >= look_every_ms;
}

void Affinity::place_workers(int n_threads) noexcept {
  caller_ = pthread_self();
  processor_ = sched_getcpu();
  looked_at_ = coarse_ms();
  n_placed_ = n_threads;
  n_processors_ = std::numeric_limits<int>::max();
  // Fails where there are more processors than a cpu_set_t holds, 1024: then no mask is ever set.
  const cpu_set_t before = allowed_;
  if (pthread_getaffinity_np(caller_, sizeof allowed_, &allowed_) != 0) return;
  const bool changed = !CPU_EQUAL(&before, &allowed_);
  cpu_set_t all = allowed_;
  n_processors_ = CPU_COUNT(&all);
  // Workers beyond the number of processors take no part, unless others gave them processors.
  const int n_workers = changed ? int(workers_.size()) : n_threads - 1;
  for (int k = 0; k < n_workers && (changed || k < n_processors_); ++k) {
    Worker& worker = workers_[std::size_t(k)];
    place_worker(worker);
    if (!worker.set_by_others) continue;
    CPU_OR(&all, &all, &worker.others);
    n_processors_ = CPU_COUNT(&all);
  }
}

void Affinity::place_worker(Worker& worker) const noexcept {
  cpu_set_t now;
  if (pthread_getaffinity_np(worker.thread, sizeof now, &now) != 0) return;
  if (!CPU_EQUAL(&now, &worker.mask)) {
    // Others have set it. A change for all threads of the process (taskset -a, a control group)
    // leaves the worker with the caller's mask, or with what that has in common with its own.
    const cpu_set_t rest = both(worker.mask, allowed_);
    worker.set_by_others = !CPU_EQUAL(&now, &allowed_) && !CPU_EQUAL(&now, &rest);
    worker.others = now;
  }
  cpu_set_t mask = allowed_;
  if (worker.set_by_others) {
    mask = both(worker.others, allowed_);
    if (CPU_COUNT(&mask) == 0) mask = worker.others;
  }
  if (processor_ >= 0 && CPU_ISSET(processor_, &mask) && CPU_COUNT(&mask) > 1)
    CPU_CLR(processor_, &mask);
  // Some sandboxes refuse it: the worker then stays where it is.
  const bool set =
      !CPU_EQUAL(&mask, &now) && pthread_setaffinity_np(worker.thread, sizeof mask, &mask) == 0;
  worker.mask = set ? mask : now;
}

}  // namespace fastoptim

#endif
