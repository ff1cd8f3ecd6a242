// Reads the windows of memory-mapped arrays into memory ahead of their use, and drops them after it.
#pragma once

#include <future>
#include <mutex>
#include <vector>

#include "gather.hpp"

namespace fastoptim {

class ReadAhead {
 public:
  // The arrays must be shared mappings of files: dropping private pages would lose what was written
  // to them.
  explicit ReadAhead(std::vector<Rows> mapped) : mapped_(std::move(mapped)) {}
  ~ReadAhead();

  // To be called before rows of a window are read, with the same order each time. On a change of the
  // window, drops the pages of the previous one, waits until this one is in memory, and starts to
  // read the next one on another thread.
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
  static void read_in(const std::vector<Range>& ranges) noexcept;
  static void release(Pages& pages) noexcept;
  Pages pages_of(const RowOrder& order, std::uint64_t window, std::uint64_t block_rows) const;
  void wait() noexcept;

  std::vector<Rows> mapped_;
  std::mutex mutex_;
  Pages current_, next_;
  std::future<void> reading_next_;
};

}  // namespace fastoptim
