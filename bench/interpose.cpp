// A library for LD_PRELOAD that counts a process's allocations and can make memory allocation and
// thread creation fail. bench/pool.py and the tests build it. Needs glibc.
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <new>

extern "C" {
void* __libc_malloc(std::size_t) noexcept;
void* __libc_calloc(std::size_t, std::size_t) noexcept;
void* __libc_realloc(void*, std::size_t) noexcept;
void* __libc_memalign(std::size_t, std::size_t) noexcept;
}

namespace {

std::atomic<long> n_allocations{0};
std::atomic<long> news_left{-1};  // calls of operator new until it fails; negative: no limit
std::atomic<bool> threads_fail{false};

void* allocate(std::size_t size, std::size_t alignment) {
  if (news_left.load() >= 0 && news_left.fetch_sub(1) <= 0) {
    news_left = 0;
    throw std::bad_alloc();
  }
  ++n_allocations;
  void* const memory = __libc_memalign(alignment, size);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

extern "C" {

// Returns the number of allocations in the process so far.
__attribute__((visibility("default"))) long interpose_allocations() { return n_allocations; }
// Lets operator new succeed n times more; no limit if n is negative.
__attribute__((visibility("default"))) void interpose_limit_news(long n) { news_left = n; }
__attribute__((visibility("default"))) void interpose_refuse_threads(int yes) {
  threads_fail = yes;
}

void* malloc(std::size_t size) noexcept { return ++n_allocations, __libc_malloc(size); }
void* calloc(std::size_t n, std::size_t size) noexcept {
  return ++n_allocations, __libc_calloc(n, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
  return ++n_allocations, __libc_realloc(memory, size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  return ++n_allocations, __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return ++n_allocations, __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  ++n_allocations;
  *memory = __libc_memalign(alignment, size);
  return *memory ? 0 : ENOMEM;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) noexcept {
  static const auto create =
      reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  return threads_fail ? EAGAIN : create(thread, attributes, start, argument);
}

}  // extern "C"

constexpr std::size_t usual = 16;
void* operator new(std::size_t size) { return allocate(size, usual); }
void* operator new[](std::size_t size) { return allocate(size, usual); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, std::size_t(alignment));
}
