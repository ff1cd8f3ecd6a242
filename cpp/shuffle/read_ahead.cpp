#include "read_ahead.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <exception>

namespace fastoptim {
namespace {

// Bytes requested ahead of those that the thread waits for, so that the disk's queue never runs
// empty, and bytes of a single request.
constexpr std::ptrdiff_t queue_bytes = 16 << 20, request_bytes = 4 << 20;

void advise(char* begin, char* end, int advice) noexcept {
  static const auto page = std::uintptr_t(sysconf(_SC_PAGESIZE));
  const auto address = std::uintptr_t(begin) / page * page;
  // Errors are ignored: a kernel or file system that does not support it only makes reads slower.
  if (begin < end)
    (void)madvise(reinterpret_cast<void*>(address), std::uintptr_t(end) - address, advice);
}

#ifdef MADV_POPULATE_READ
constexpr int populate = MADV_POPULATE_READ;
#else
constexpr int populate = MADV_WILLNEED;  // reads the file, but the copy takes the page faults
#endif

}  // namespace

ReadAhead::~ReadAhead() {
  wait();
  release(current_);
  release(next_);
}

void ReadAhead::wait() noexcept {
  if (reading_next_.valid()) reading_next_.wait();
}

void ReadAhead::read_in(const std::vector<Range>& ranges) noexcept {
  std::ptrdiff_t ahead = 0;
  auto next = ranges.begin();
  for (const Range& range : ranges) {
    for (; next != ranges.end() && ahead < queue_bytes; ++next) {
      advise(next->begin, next->end, MADV_WILLNEED);
      ahead += next->end - next->begin;
    }
    advise(range.begin, range.end, populate);
    ahead -= range.end - range.begin;
  }
}

void ReadAhead::release(Pages& pages) noexcept {
  for (const Range& range : pages.ranges) advise(range.begin, range.end, MADV_DONTNEED);
  pages.ranges.clear();
}

ReadAhead::Pages ReadAhead::pages_of(const RowOrder& order, std::uint64_t window,
                                     std::uint64_t block_rows) const {
  Pages pages{window, {}};
  for (const std::uint64_t block : order.blocks_of(window))
    for (const Rows& array : mapped_) {
      const std::uint64_t end = std::min(block + block_rows, std::uint64_t(array.n_rows()));
      char* const last = array.row(end);
      for (char* from = array.row(block); from < last; from += std::min(request_bytes, last - from))
        pages.ranges.push_back({from, from + std::min(request_bytes, last - from)});
    }
  return pages;
}

void ReadAhead::enter(const RowOrder& order, const Window& window) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto holds = [&](const Pages& pages, std::uint64_t number) {
    return !pages.ranges.empty() && pages.window == number;
  };
  if (holds(current_, window.number)) return;
  release(current_);
  wait();
  if (!holds(next_, window.number)) {
    release(next_);
    next_ = pages_of(order, window.number, window.block_rows);
    read_in(next_.ranges);
  }
  std::swap(current_, next_);
  if (window.number + 1 == order.n_windows()) return;
  next_ = pages_of(order, window.number + 1, window.block_rows);
  try {
    reading_next_ = std::async(std::launch::async, [this] { read_in(next_.ranges); });
  } catch (const std::exception&) {  // no thread or memory: the window is read when it is entered
    next_.ranges.clear();
  }
}

}  // namespace fastoptim
