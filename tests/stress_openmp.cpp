// An OpenMP runtime of the fewest functions, which tests/stress_parallel.cpp borrows: new threads for
// each region, and now and then fewer than it was asked for. It is here because ThreadSanitizer does
// not know how GCC's runtime synchronises its threads, and reports races that are none.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "../cpp/core/float_control.hpp"

namespace {

constexpr unsigned max_threads = 4;
std::atomic<unsigned> n_regions{0};
thread_local int own_number = 0, team_size = 1;
thread_local bool inside = false;

// A thread of a region. The control bits that it begins with must be there again at its end.
void enter(void (*body)(void*), void* data, int number, int size) {
  own_number = number, team_size = size, inside = size > 1;
  const fastoptim::FloatControl before = fastoptim::float_control();
  body(data);
  if (fastoptim::float_control() != before) std::abort();
  own_number = 0, team_size = 1, inside = false;
}

}  // namespace

extern "C" {
void GOMP_parallel(void (*body)(void*), void* data, unsigned asked, unsigned) {
  const unsigned given = asked ? asked : max_threads;
  const int size = int(std::max(1u, given - n_regions++ % 3));
  std::vector<std::thread> others;
  for (int number = 1; number < size; ++number)
    others.emplace_back(enter, body, data, number, size);
  enter(body, data, 0, size);
  for (std::thread& other : others) other.join();
}
int omp_get_thread_num() { return own_number; }
int omp_get_num_threads() { return team_size; }
int omp_in_parallel() { return inside; }
int omp_get_max_threads() { return max_threads; }
}
