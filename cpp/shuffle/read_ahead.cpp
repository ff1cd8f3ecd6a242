#include "read_ahead.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <exception>

namespace fastoptim {
namespace {

// Bytes that are asked for ahead of those that are waited for, so that the disk always has a queue.
constexpr std::ptrdiff_t queue = 16 << 20, step = 4 << 20;

void advise(char* begin, char* end, int advice) noexcept {
  static const auto page = std::uintptr_t(sysconf(_SC_PAGESIZE));
  const auto address = std::uintptr_t(begin) / page * page;
  // Only advice: a refusal (an old kernel, a file system that cannot) costs time, not rows.
  if (begin < end)
    (void)madvise(reinterpret_cast<void*>(address), std::uintptr_t(end) - address, advice);
}

#ifdef MADV_POPULATE_READ
constexpr int populate = MADV_POPULATE_READ;
#else
constexpr int populate = MADV_WILLNEED;  // reads, but leaves the page faults to the copy
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

void ReadAhead::read(const std::vector<Range>& ranges) noexcept {
  std::ptrdiff_t ahead = 0;
  auto next = ranges.begin();
  for (const Range& range : ranges) {
    for (; next != ranges.end() && ahead < queue; ++next) {
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
      for (char* from = array.row(block); from < last; from += std::min(step, last - from))
        pages.ranges.push_back({from, from + std::min(step, last - from)});
    }
  return pages;
}

void ReadAhead::enter(const RowOrder& order, const Window& window) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto is = [&](const Pages& pages, std::uint64_t number) {
    return !pages.ranges.empty() && pages.window == number;
  };
  if (is(current_, window.number)) return;
  release(current_);
  wait();
  if (!is(next_, window.number)) {
    release(next_);
    next_ = pages_of(order, window.number, window.block_rows);
    read(next_.ranges);
  }
  std::swap(current_, next_);
  if (window.number + 1 == order.n_windows()) return;
  next_ = pages_of(order, window.number + 1, window.block_rows);
  try {
    reading_next_ = std::async(std::launch::async, [this] { read(next_.ranges); });
  } catch (const std::exception&) {  // no thread or memory to be had: read when it is needed
    next_.ranges.clear();
  }
}

}  // namespace fastoptim
