// An object that each process makes for itself: a forked child makes a new one.
#pragma once

#include <atomic>

#include "fork.hpp"

namespace fastoptim {

// Holds a T that contains locks or threads, made on first use. At a fork another thread may hold
// those locks, or be in the middle of what they guard, and that thread does not exist in the child.
// So the child leaves the parent's T alone (it leaks, by intent), and its first use makes another.
// Thread-safe.
template <class T>
class PerProcess {
 public:
  PerProcess() = default;
  PerProcess(const PerProcess&) = delete;
  ~PerProcess() {
    Instance* const instance = instance_;
    if (instance && instance->n_forks == forks()) delete instance;
  }

  // This process's T; make() returns one if there is none yet.
  template <class F>
  T& get(const F& make) {
    Instance* instance = instance_.load(std::memory_order_acquire);
    if (instance && instance->n_forks == forks()) return instance->value;
    Instance* const made = new Instance{forks(), make()};
    if (instance_.compare_exchange_strong(instance, made)) return made->value;
    delete made;  // another thread was faster
    return instance->value;
  }

  // This process's T, or null if there is none yet.
  T* find() noexcept {
    Instance* const instance = instance_.load(std::memory_order_acquire);
    return instance && instance->n_forks == forks() ? &instance->value : nullptr;
  }

 private:
  struct Instance {
    const unsigned n_forks;  // when it was made
    T value;
  };
  std::atomic<Instance*> instance_{nullptr};
};

}  // namespace fastoptim
