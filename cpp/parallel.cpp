#include "parallel.hpp"

#include <pthread.h>

#include <atomic>

namespace fastoptim {
namespace {

std::atomic<int> threads{1};
std::atomic<bool> in_forked_child{false};

void after_fork() { in_forked_child = true; }

[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, after_fork);

}  // namespace

int num_threads() noexcept { return forked() ? 1 : threads.load(); }
void set_num_threads(int n) noexcept { threads = n; }
bool forked() noexcept { return in_forked_child; }

bool has_openmp() noexcept {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

void parallel_for(Index n, bool serial, Body body, const void* context) {
  const Index shares = n < num_threads() ? n : num_threads();
  if (serial || shares <= 1) {
    body(context, 0, n);
    return;
  }
  // Without OpenMP the pragma is void: the shares are worked off one after the other, which
  // gives the same bytes.
#pragma omp parallel for num_threads(int(shares)) schedule(static, 1)
  for (Index k = 0; k < shares; ++k) body(context, n * k / shares, n * (k + 1) / shares);
}

}  // namespace fastoptim
