// Two threads that share the pool, jobs of all sizes, the number of threads changing meanwhile:
// every element is visited once, and ThreadSanitizer sees no race. `make stress` runs it.
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "../cpp/parallel.hpp"

int main() {
  using namespace fastoptim;
  long wrong[2] = {};
  const auto work = [&](int id) {
    for (int round = 0; round < 6000; ++round) {
      std::vector<int> visits((round * 37 + id * 11) % 3000);
      parallel_for(
          Index(visits.size()), false,
          [&](Index begin, Index end) {
            for (Index i = begin; i < end; ++i) ++visits[i];
          },
          1 + round % 50);
      for (int n : visits) wrong[id] += n != 1;
      if (round % 97 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
      if (id == 0 && round % 500 == 0) set_num_threads(1 + round / 500 % 6);
    }
  };
  set_num_threads(4);
  std::thread other(work, 1);
  work(0);
  other.join();
  std::printf("%ld elements not visited once\n", wrong[0] + wrong[1]);
  return wrong[0] + wrong[1] != 0;
}
