#include "fork.hpp"

#include <pthread.h>

#include <atomic>

namespace fastoptim {
namespace {

std::atomic<unsigned> n_forks{0};

[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { ++n_forks; });

}  // namespace

unsigned forks() noexcept { return n_forks.load(std::memory_order_relaxed); }

}  // namespace fastoptim
