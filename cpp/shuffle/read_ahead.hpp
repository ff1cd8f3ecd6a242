// Brings windows of memory-mapped arrays into memory ahead of their use, and lets go of them.
#pragma once

#include <future>
#include <mutex>
#include <vector>

#include "gather.hpp"

namespace fastoptim {

class ReadAhead {
 public:
  // The arrays must map files, shared: letting go of private pages would lose what they hold.
  explicit ReadAhead(std::vector<Rows> mapped) : mapped_(std::move(mapped)) {}
  ~ReadAhead();

  // Before rows of a window are read, of the same order each time. On entering another window: lets
  // go of the one before, waits until this one is there, and begins to read the next one on a
  // thread of its own.
  void enter(const RowOrder& order, const Window& window);

 private:
  struct Range {
    char* begin;
    char* end;
  };
  struct Pages {
    std::uint64_t window = 0;
    std::vector<Range> ranges;
  };
  static void read(const std::vector<Range>& ranges) noexcept;
  static void release(Pages& pages) noexcept;
  Pages pages_of(const RowOrder& order, std::uint64_t window, std::uint64_t block_rows) const;
  void wait() noexcept;

  std::vector<Rows> mapped_;
  std::mutex mutex_;
  Pages current_, next_;
  std::future<void> reading_next_;
};

}  // namespace fastoptim
