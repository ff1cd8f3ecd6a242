#include "openmp.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <iterator>

#include "loaded_objects.hpp"
#include "work_stealing.hpp"

namespace fastoptim {
namespace {

#if defined(__APPLE__)
constexpr const char* torch_library = "libtorch_cpu.dylib";
constexpr const char* system_libraries[] = {"libomp.dylib", "libgomp.1.dylib", "libiomp5.dylib"};
#else
constexpr const char* torch_library = "libtorch_cpu.so";
// GCC's first: LLVM's and Intel's end the process if a second one of theirs is loaded later.
constexpr const char* system_libraries[] = {"libgomp.so.1", "libomp.so.5", "libomp.so",
                                            "libiomp5.so"};
#endif

// How names of runtimes begin: GCC's, LLVM's and Intel's. Wheels add a hash: libgomp-a34b3233.so.1.
constexpr const char* runtime_names[] = {"libgomp", "libomp", "libiomp5"};

// No process has a team of more threads: set_num_threads allows no larger number.
constexpr int max_shares = 1024;

// The functions of a runtime. GOMP_parallel is GCC's entry to a parallel region, which LLVM's and
// Intel's runtimes export too.
struct Runtime {
  void (*parallel)(void (*body)(void*), void* data, unsigned n_threads, unsigned flags);
  int (*thread_num)();
  int (*num_threads)();  // of the team
  int (*in_parallel)();
  int (*max_threads)();  // of the calling thread's next team
};

template <class F>
bool look_up(void* library, const char* name, F*& function) noexcept {
  function = reinterpret_cast<F*>(dlsym(library, name));
  return function;
}

bool look_up(void* library, Runtime& runtime) noexcept {
  return look_up(library, "GOMP_parallel", runtime.parallel) &&
         look_up(library, "omp_get_thread_num", runtime.thread_num) &&
         look_up(library, "omp_get_num_threads", runtime.num_threads) &&
         look_up(library, "omp_in_parallel", runtime.in_parallel) &&
         look_up(library, "omp_get_max_threads", runtime.max_threads);
}

struct alignas(cache_line) Share {
  std::atomic<Index> next;
};

// One job at a time in all teams, as in the pool: a thread that comes meanwhile works alone. Static,
// because a job allocates nothing.
std::atomic<bool> in_use{false};
Share shares[max_shares];

class OpenMpTeam final : public ThreadBackend {
 public:
  OpenMpTeam(const Runtime& runtime, bool whole) noexcept : runtime_(runtime), whole_(whole) {}

  // Also returns false inside a parallel region of this runtime, whose other threads have work of
  // their own, and where the runtime allows one thread only.
  bool run_job(const Job& job) noexcept override {
    if (runtime_.in_parallel()) return false;
    const int n_shares = std::min({job.n_threads, runtime_.max_threads(), max_shares});
    if (n_shares < 2 || in_use.exchange(true)) return false;
    for (int k = 0; k < n_shares; ++k) shares[k].next.store(0, std::memory_order_relaxed);
    Region region{job, runtime_, n_shares};
    runtime_.parallel(&work, &region, whole_ ? 0 : unsigned(n_shares), 0);
    in_use.store(false);
    return true;
  }

  const void* address() const noexcept { return reinterpret_cast<const void*>(runtime_.parallel); }

 private:
  struct Region {
    const Job& job;
    const Runtime& runtime;
    const int n_shares;  // at most
  };

  // The part of each thread of the team.
  static void work(void* data) noexcept {
    const Region& region = *static_cast<const Region*>(data);
    // The runtime may have given fewer threads than it has said.
    const int n_shares = std::min(region.n_shares, region.runtime.num_threads());
    const int thread = region.runtime.thread_num();
    if (thread >= n_shares) return;
    const FloatControl own = float_control();  // restored: the thread belongs to others
    set_float_control(region.job.float_control);
    work_off(region.job, n_shares, thread,
             [](int share) -> std::atomic<Index>& { return shares[share].next; });
    set_float_control(own);
  }

  const Runtime runtime_;
  // Whether to have a team of the usual size, in which the threads beyond a job's have nothing to do.
  // For a smaller team than the last, GCC's runtime ends the threads that are left over, and starts
  // them again for the next region of the library that the runtime is borrowed from.
  const bool whole_;
};

// A handle of an object that is loaded; null if it is not.
void* handle_of(const std::string& path) noexcept {
  return dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
}

bool begins_with(const std::string& text, const char* start) { return text.rfind(start, 0) == 0; }

bool is_runtime(const std::string& name) {
  return std::any_of(std::begin(runtime_names), std::end(runtime_names),
                     [&](const char* start) { return begins_with(name, start); });
}

// Never destroyed, because other threads may work at exit.
std::atomic<OpenMpTeam*> torch_team{nullptr}, any_team{nullptr};

// A function of torch, to tell torch's code from other code; null until torch was found.
std::atomic<const void*> torch_function{nullptr};

// Publishes a team, unless another thread was faster: no lock, since a thread might hold it at a fork.
OpenMpTeam* publish(std::atomic<OpenMpTeam*>& place, OpenMpTeam* team) noexcept {
  OpenMpTeam* known = nullptr;
  if (place.compare_exchange_strong(known, team)) return team;
  if (team != known && team != torch_team.load()) delete team;
  return known;
}

OpenMpTeam* find_torch_team() {
  OpenMpTeam* const known = torch_team.load();
  if (known || torch_function.load()) return known;
  for (const std::string& path : loaded_objects()) {
    if (file_name(path) != torch_library) continue;
    void* const torch = handle_of(path);
    if (!torch) return nullptr;
    // at::get_num_threads(), which also makes torch.set_num_threads count for a thread that has not
    // computed with torch yet: OpenMP's own number is one for each thread.
    int (*get_num_threads)() = nullptr;
    if (!look_up(torch, "_ZN2at15get_num_threadsEv", get_num_threads)) return nullptr;
    // As the loader binds torch's own calls: what is global first (LD_PRELOAD), then what torch
    // depends on. Another library's runtime, loaded under another name, is neither.
    Runtime runtime;
    OpenMpTeam* team = nullptr;
    if (look_up(RTLD_DEFAULT, runtime) || look_up(torch, runtime)) {
      runtime.max_threads = get_num_threads;
      team = publish(torch_team, new OpenMpTeam(runtime, true));
    }
    torch_function = reinterpret_cast<const void*>(get_num_threads);  // last: the search is over
    return team;
  }
  return nullptr;
}

OpenMpTeam* find_any_team(bool load) {
  if (OpenMpTeam* const known = any_team.load()) return known;
  OpenMpTeam* team = find_torch_team();
  Runtime runtime;
  if (!team)
    for (const std::string& path : loaded_objects())
      if (void* const library = is_runtime(file_name(path)) ? handle_of(path) : nullptr;
          library && look_up(library, runtime)) {
        team = new OpenMpTeam(runtime, false);
        break;
      }
  if (!team && load)
    for (const char* const name : system_libraries)
      if (void* const library = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
          library && look_up(library, runtime)) {
        team = new OpenMpTeam(runtime, false);
        break;
      }
  return team ? publish(any_team, team) : nullptr;
}

}  // namespace

ThreadBackend* find_torch_openmp() { return find_torch_team(); }

ThreadBackend* torch_openmp() noexcept { return torch_team.load(std::memory_order_acquire); }

ThreadBackend* find_openmp(bool load) { return find_any_team(load); }

ThreadBackend* openmp() noexcept { return any_team.load(std::memory_order_acquire); }

std::string openmp_library_names() {
  std::string names;
  for (const char* const name : system_libraries)
    names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

std::string openmp_path(const ThreadBackend* team) {
  return team ? object_of(static_cast<const OpenMpTeam*>(team)->address()) : "";
}

bool is_in_torch(const void* address) noexcept {
  return in_one_object(address, torch_function.load());
}

}  // namespace fastoptim
