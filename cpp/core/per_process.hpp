// What a process has for itself, and a forked child makes anew.
#pragma once

#include <atomic>

#include "parallel.hpp"

namespace fastoptim {

// A T with locks or threads, made when it is first asked for. At a fork another thread may hold the
// locks, or be halfway through what they guard, and that thread does not exist in the child: there
// the parent's T is left alone, for good, and the first use makes another. Safe from several
// threads.
template <class T>
class PerProcess {
 public:
  PerProcess() = default;
  PerProcess(const PerProcess&) = delete;
  ~PerProcess() {
    Kept* const kept = kept_;
    if (kept && kept->born == forks()) delete kept;
  }

  // This process's T; make() gives it if there is none yet.
  template <class F>
  T& get(const F& make) {
    Kept* kept = kept_.load(std::memory_order_acquire);
    if (kept && kept->born == forks()) return kept->value;
    Kept* const made = new Kept{forks(), make()};
    if (kept_.compare_exchange_strong(kept, made)) return made->value;
    delete made;
    return kept->value;
  }

  // The same, or null if there is none yet.
  T* find() noexcept {
    Kept* const kept = kept_.load(std::memory_order_acquire);
    return kept && kept->born == forks() ? &kept->value : nullptr;
  }

 private:
  struct Kept {
    const unsigned born;
    T value;
  };
  std::atomic<Kept*> kept_{nullptr};
};

}  // namespace fastoptim
