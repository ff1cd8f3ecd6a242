// The two back ends and all that runs on them, used by several threads at once while the number of
// threads and the back end change: every element is visited once, a step has the bytes of a step alone, batches
// hold their rows, and ThreadSanitizer sees no race. `make stress` runs it.
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "../cpp/core/dispatch.hpp"
#include "../cpp/core/openmp.hpp"
#include "../cpp/core/parallel.hpp"
#include "../cpp/core/step.hpp"
#include "../cpp/core/wake_policy.hpp"
#include "../cpp/shuffle/batch_loader.hpp"

static std::atomic<long> n_news{0};

void* operator new(std::size_t size) {
  ++n_news;
  if (void* const memory = std::malloc(size + !size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  ++n_news;
  const auto unit = std::size_t(alignment);
  if (void* const memory = std::aligned_alloc(unit, (size + unit) / unit * unit)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

#ifdef __linux__
// A system that does not tell the masks of threads, while that is set: then as many threads take part
// in a job as are asked for, even on two processors.
static std::atomic<bool> masks_unknown{true};
extern "C" int pthread_getaffinity_np(pthread_t thread, std::size_t size,
                                      cpu_set_t* mask) noexcept {
  static const auto real = reinterpret_cast<decltype(&pthread_getaffinity_np)>(
      dlsym(RTLD_NEXT, "pthread_getaffinity_np"));
  return masks_unknown ? ENOSYS : real(thread, size, mask);
}
#else
static std::atomic<bool> masks_unknown{false};
#endif

namespace {

using namespace fastoptim;

std::atomic<long> n_wrong{0};

void expect(bool holds, const char* what) {
  if (!holds && n_wrong++ < 20) std::printf("wrong: %s\n", what);
}

void sleep(int microseconds) {
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
}

// Jobs of all sizes.
void visits(int id) {
  for (int round = 0; round < 3000; ++round) {
    std::vector<int> count((round * 37 + id * 11) % 3000);
    parallel_for(
        Index(count.size()), false,
        [&](Index begin, Index end) {
          for (Index i = begin; i < end; ++i) ++count[i];
        },
        1 + round % 50);
    expect(std::all_of(count.begin(), count.end(), [](int n) { return n == 1; }),
           "elements visited once");
    if (round % 97 == 0) sleep(300);
  }
}

// Pieces of one element, which threads take from each other's shares all the time.
void contended(int rounds) {
  for (int round = 0; round < rounds; ++round) {
    std::atomic<int> count[64] = {};
    parallel_for(64, false, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) ++count[i];
    });
    for (const std::atomic<int>& n : count) expect(n == 1, "contended elements visited once");
  }
}

// The caller is done long before those that take part.
void slow_workers() {
  const auto caller = std::this_thread::get_id();
  bool helped = false;
  for (int round = 0; round < 200 || (!helped && round < 5000); ++round) {
    std::atomic<int> done{0};
    std::atomic<bool> by_other{false};
    parallel_for(8, false, [&](Index begin, Index end) {
      if (std::this_thread::get_id() != caller) sleep(200), by_other = true;
      done += int(end - begin);
    });
    helped |= by_other;
    expect(done == 8, "a job is over when parallel_for returns");
  }
  expect(helped, "a worker takes part");
}

// Work under a caller's rounding.
void rounding() {
  const FloatControl usual = float_control();
  for (int round = 0; round < 500; ++round) {
    const FloatControl control = usual ^ FloatControl(round % 4) << 13;  // of MXCSR
#ifdef __SSE2__
    set_float_control(control);
    std::atomic<int> same{0};
    parallel_for(100, false, [&](Index begin, Index end) {
      if (float_control() == control) same += int(end - begin);
    });
    expect(same == 100, "workers round as their caller does");
#else
    (void)control;
#endif
  }
  set_float_control(usual);
}

void wake_policy() {
  WakePolicy policy(10, 100);
  bool serial_at_once = true, serial_later = true, serial_small = true, serial_large = false;
  for (int round = 0; round < 100; ++round) {
    const auto runs_serially = [&](Index size) {
      const bool serial = policy.runs_serially(size);
      policy.job_ended(size);
      return serial;
    };
    runs_serially(50);
    serial_at_once &= runs_serially(50);  // false once is enough: the system may pause in between
    sleep(200);
    serial_later &= runs_serially(50);
    serial_small &= runs_serially(5);
    serial_large |= runs_serially(500);
  }
  expect(!serial_at_once, "medium jobs that follow each other are shared");
  expect(serial_later, "a medium job after a pause is not");
  expect(serial_small, "small jobs never are");
  expect(!serial_large, "large jobs always are");
}

// Adam on one tensor.
struct Model {
  std::vector<float> arrays[4];
  WorkList list;
  std::vector<Coefficients> coefficients{Coefficients{}};
  const RuleKernels* rule = nullptr;

  explicit Model(Index n) {
    for (int k = 0; k < kernels().n_rules && !rule; ++k)  // the first: the others are its variants
      if (std::string(kernels().rules[k].facts.name) == "adam") rule = &kernels().rules[k];
    Work work{{}, rule->sweep[0], 0, 2};
    for (int k = 0; k < 4; ++k) {
      arrays[k].resize(std::size_t(n));
      for (Index i = 0; i < n; ++i) arrays[k][std::size_t(i)] = k > 1 ? 0 : float(i % 1000) * .01f;
      work.tensor.operands[k].data = reinterpret_cast<char*>(arrays[k].data());
    }
    work.tensor.size = n;
    list.add(work);
  }

  void step(int t) {
    const double options[] = {0.9, 0.999, 1e-8};
    Coefficients& c = coefficients[0];
    c.decay = 1;
    c.subnormals = list.expects_subnormals();
    rule->coefficients(options, t, 1e-3, c.rule);
    list.run_step(coefficients.data());
  }
};

void steps(Index n, int n_steps, bool alone) {
  Model model(n);
  model.list.zero_states();
  for (int t = 1; t <= n_steps; ++t) model.step(t);
  for (Index i = 1000; i < n; ++i)  // elements 1000 apart have the same numbers
    for (const auto& x : model.arrays)
      if (x[std::size_t(i)] != x[std::size_t(i - 1000)])
        return expect(false, "all elements are stepped alike");
  if (alone) {
    model.step(n_steps + 1);
    const long before = n_news;
    for (int k = 0; k < 100; ++k) model.step(n_steps + 2 + k);
    expect(n_news == before, "nothing allocated in 100 threaded steps");
    std::printf("%ld allocations in 100 threaded steps\n", n_news - before);
  }
}

// Loaders that are made and destroyed while their threads work.
void loaders(int id) {
  constexpr Index n = 5000, width = 16;
  std::vector<std::int32_t> x(n * width);
  for (Index i = 0; i < n * width; ++i) x[std::size_t(i)] = std::int32_t(i / width);
  const Index extents[] = {n, width}, strides[] = {width * 4, 4};
  for (int round = 0; round < 150; ++round) {
    const Index count = 1 + (round * 131 + id) % 2500;
    const int ahead = round % 4;
    BatchLoader loader({Rows(reinterpret_cast<char*>(x.data()), {2, extents}, {strides, 4}, 0)}, {},
                       {n, 0, 0}, count, ahead);
    const Seed seed{std::uint64_t(round), 0};
    const auto samples = [&](Index k) {
      return SampleRange{std::uint64_t(k * count), std::min(count, n - k * count)};
    };
    EpochLoader epoch(loader, seed, 0, false);
    const Index n_batches = std::min<Index>((n + count - 1) / count, 1 + round % 7);
    std::vector<bool> seen(n);
    for (Index k = 0; k < n_batches; ++k) {
      if (round % 5 == 4 && k == 1) {  // another epoch, dropped with batches under way
        EpochLoader other(loader, seed, 1, false);
        other.load_batch(samples(0));
        for (Index a = 1; a <= ahead && a * count < n; ++a) other.prefetch(samples(a));
      }
      const Batch batch = epoch.load_batch(samples(k));
      for (Index a = 1; a <= ahead && (k + a) * count < n; ++a) epoch.prefetch(samples(k + a));
      const auto* rows = reinterpret_cast<const std::int32_t*>(batch[0].data());
      for (Index r = 0; r < samples(k).count; ++r) {
        const std::int32_t row = rows[r * width];
        expect(rows[r * width + width - 1] == row && !seen[std::size_t(row)],
               "a batch holds whole rows, each once");
        seen[std::size_t(row)] = true;
      }
    }
  }
}

}  // namespace

int main() {
  set_num_threads(4);
  contended(20000);
  slow_workers();
  rounding();
  wake_policy();
  steps(300'000, 3, true);

  expect(find_openmp(false), "the runtime of stress_openmp.cpp is found");
  set_threading(Threading::openmp);
  contended(1000);
  slow_workers();
  rounding();
  steps(300'000, 3, false);

  std::atomic<bool> over{false};
  std::vector<std::thread> others;
  for (int id : {1, 2}) others.emplace_back([id] { visits(id); });
  for (Index n : {300'000, 100'000}) others.emplace_back([n] { steps(n, 100, false); });
  for (int id : {1, 2}) others.emplace_back([id] { loaders(id); });
  others.emplace_back(rounding);
  std::thread changes([&] {
    for (int round = 0; !over; ++round, sleep(2000)) {
      set_num_threads(1 + round % 6);
      masks_unknown = round / 50 % 2 == 0;
      set_threading(round % 4 ? Threading::pool : Threading::openmp);
    }
  });
  for (std::thread& other : others) other.join();
  over = true;
  changes.join();
  std::printf("%ld wrong\n", n_wrong.load());
  return n_wrong != 0;
}
