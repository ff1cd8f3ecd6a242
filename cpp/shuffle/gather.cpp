#include "gather.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#ifdef __SSE2__
#include <xmmintrin.h>
#endif

#include "../core/dispatch.hpp"
#include "../core/parallel.hpp"
#include "../kernels/constants.hpp"

namespace fastoptim {
namespace {

// Row indices that are computed at a time, on the stack, before their rows are copied.
constexpr Index index_block = 1024;

// The distance of software prefetching in rows, and the bytes of each row that are prefetched, into
// L2; the hardware prefetcher continues in longer rows. Medians on two threads in ns a row, of 8 rows
// ahead and 512 bytes into L1 first, then of these values: 6.6 and 5.1 for rows of 16 B, 8.1 and
// 7.0 for 128 B, 194 and 162 for 3 KiB, in batches of 8192. A distance of 32 rows gained 0.6 ns for
// 16 B, and lost 19 for 3 KiB in batches of 64.
constexpr Index prefetch_rows = 16;
constexpr Index prefetch_bytes = 4096;

// From this many bytes on, an array's batch is written with non-temporal stores. Rows of 3 KiB on two
// threads in ns a row, without and with them, including a reader of the batch: 260 and 318 for
// batches of 3 MiB, 294 and 302 for 6 MiB, 456 and 314 for 24 MiB.
constexpr Index stream_from_bytes = 8 << 20;

template <Index bytes>
struct FixedSizeCopy {
  void operator()(char* to, const char* from) const noexcept { std::memcpy(to, from, bytes); }
};

struct MemoryCopy {
  Index bytes;
  void operator()(char* to, const char* from) const noexcept {
    std::memcpy(to, from, std::size_t(bytes));
  }
};

struct NonTemporalCopy {
  Index bytes;
  StreamCopy copy;
  void operator()(char* to, const char* from) const noexcept { copy(to, from, bytes); }
};

}  // namespace

Rows::Rows(char* data, const Shape& shape, const Strides& strides, int axis)
    : data_(data),
      n_rows_(shape.extents[axis]),
      stride_(strides.strides[axis]),
      run_bytes_(strides.item_size),
      item_size_(strides.item_size) {
  std::vector<int> axes;
  for (int k = 0; k < shape.n_axes; ++k) axes.push_back(k);
  std::stable_sort(axes.begin(), axes.end(), [&](int a, int b) {
    return std::abs(strides.strides[a]) > std::abs(strides.strides[b]);
  });
  bool inside = false;
  for (const int k : axes) {
    order_.push_back({k, k == axis ? 0 : shape.extents[k]});
    if (k == axis) {
      inside = true;
    } else if (shape.extents[k] == 1) {
      continue;
    } else if (inside) {
      inner_.push_back({shape.extents[k], strides.strides[k]});
    } else {
      outer_.push_back({shape.extents[k], strides.strides[k]});
      n_outer_ *= shape.extents[k];
    }
  }
  while (!inner_.empty() && inner_.back().stride == run_bytes_) {
    run_bytes_ *= inner_.back().extent;
    inner_.pop_back();
  }
  piece_bytes_ = run_bytes_;
  for (const Axis& a : inner_) piece_bytes_ *= a.extent;
}

void Rows::batch_strides(Index count, Index* strides) const noexcept {
  Index stride = item_size_;
  for (auto a = order_.rbegin(); a != order_.rend(); ++a) {
    strides[a->axis] = stride;
    stride *= a->extent ? a->extent : count;
  }
}

bool Rows::is_sequential() const noexcept {
  return outer_.empty() && inner_.empty() && stride_ == run_bytes_;
}

Index Rows::outer_offset(Index outer) const noexcept {
  Index offset = 0;
  for (auto a = outer_.rbegin(); a != outer_.rend(); ++a) {
    offset += outer % a->extent * a->stride;
    outer /= a->extent;
  }
  return offset;
}

// Copies a piece of one row between the array, where it may have gaps, and a batch.
template <bool to_array, class Copy>
void Rows::copy_piece(char* piece, char* batch, const Copy& copy) const noexcept {
  const auto move = [&](char* in_array, char* in_batch) {
    if constexpr (to_array)
      copy(in_array, in_batch);
    else
      copy(in_batch, in_array);
  };
  if (inner_.empty()) {
    move(piece, batch);
    return;
  }
  const Axis last = inner_.back();
  const Index rest = piece_bytes_ / (run_bytes_ * last.extent);
  for (Index k = 0; k < rest; ++k) {
    Index offset = 0, position = k;
    for (Index a = Index(inner_.size()) - 2; a >= 0; --a) {
      offset += position % inner_[std::size_t(a)].extent * inner_[std::size_t(a)].stride;
      position /= inner_[std::size_t(a)].extent;
    }
    for (Index i = 0; i < last.extent; ++i, batch += run_bytes_)
      move(piece + offset + i * last.stride, batch);
  }
}

void Rows::prefetch(const char* piece) const noexcept {
  const Index bytes = std::min(piece_bytes_, prefetch_bytes);
  for (Index k = 0; k < bytes; k += cache_line) __builtin_prefetch(piece + k, 0, 2);
}

void Rows::prefetch(const std::uint64_t* rows, Index count) const noexcept {
  count = std::min(count, prefetch_rows);
  for (Index i = 0; i < count; ++i) prefetch(data_ + Index(rows[i]) * stride_);
}

template <class Copy>
void Rows::gather_by(const std::uint64_t* rows, Index count, char* batch, Index at,
                     Index batch_rows, const Copy& copy) const noexcept {
  for (Index outer = 0; outer < n_outer_; ++outer) {
    char* from = data_ + outer_offset(outer);
    char* to = batch + (outer * batch_rows + at) * piece_bytes_;
    for (Index i = 0; i < count; ++i, to += piece_bytes_) {
      if (i + prefetch_rows < count) prefetch(from + Index(rows[i + prefetch_rows]) * stride_);
      copy_piece<false>(from + Index(rows[i]) * stride_, to, copy);
    }
  }
}

// Calls f(copy) with a copy function for runs of run_bytes_: one of fixed size, which compiles to a
// move or two, or memcpy, which is a call.
template <class F>
void Rows::with_copy(const F& f) const noexcept {
  switch (run_bytes_) {
    case 1: return f(FixedSizeCopy<1>());
    case 2: return f(FixedSizeCopy<2>());
    case 4: return f(FixedSizeCopy<4>());
    case 8: return f(FixedSizeCopy<8>());
    case 16: return f(FixedSizeCopy<16>());
    case 32: return f(FixedSizeCopy<32>());
    case 64: return f(FixedSizeCopy<64>());
    case 128: return f(FixedSizeCopy<128>());
    default: return f(MemoryCopy{run_bytes_});
  }
}

void Rows::gather(const std::uint64_t* rows, Index count, char* batch, Index at,
                  Index batch_rows) const noexcept {
  if (piece_bytes_ == 0 || count == 0) return;
  // Not always so: the buffer of the row that shuffle() sets aside may begin within a cache line.
  const bool whole_lines =
      run_bytes_ % cache_line == 0 && reinterpret_cast<std::uintptr_t>(batch) % cache_line == 0;
  if (batch_rows * row_bytes() >= stream_from_bytes && whole_lines) {
    gather_by(rows, count, batch, at, batch_rows,
              NonTemporalCopy{run_bytes_, kernels().stream_copy});
#ifdef __SSE2__
    _mm_sfence();  // orders the non-temporal stores before any later store, for other threads
#endif
    return;
  }
  with_copy([&](const auto& copy) { gather_by(rows, count, batch, at, batch_rows, copy); });
}

void Rows::load(std::uint64_t row, char* to) const noexcept { gather(&row, 1, to, 0, 1); }

void Rows::store(std::uint64_t row, const char* from) const noexcept {
  if (piece_bytes_ == 0) return;
  with_copy([&](const auto& copy) {
    for (Index outer = 0; outer < n_outer_; ++outer)
      copy_piece<true>(data_ + outer_offset(outer) + Index(row) * stride_,
                       const_cast<char*>(from) + outer * piece_bytes_, copy);
  });
}

void gather_batch(const std::vector<Rows>& arrays, const Window& window, std::uint64_t first,
                  Index count, const std::vector<char*>& batches, Index at, Index batch_rows,
                  WakePolicy& wake_policy) {
  Index bytes = 0;
  for (const Rows& array : arrays) bytes += array.row_bytes() * count;
  const auto gather_part = [&](Index begin, Index end) {
    std::uint64_t rows[index_block];
    for (Index k = begin; k < end; k += index_block) {
      const Index size = std::min(index_block, end - k);
      window.rows(first + std::uint64_t(k), size, rows);
      for (const Rows& array : arrays) array.prefetch(rows, size);
      for (std::size_t a = 0; a < arrays.size(); ++a)
        arrays[a].gather(rows, size, batches[a], at + k, batch_rows);
    }
  };
  // The grain is long enough for prefetching to take effect.
  parallel_for(count, wake_policy.runs_serially(bytes), gather_part, 8 * prefetch_rows);
  wake_policy.job_ended(bytes);
}

// Follows the cycles of the permutation. `filled` has a bit for each row that is final.
void shuffle(const std::vector<Rows>& arrays, const Permutation& order) {
  std::vector<bool> filled(order.size());
  std::vector<std::vector<char>> first_row;
  std::size_t longest = 0;
  for (const Rows& array : arrays) {
    first_row.emplace_back(std::size_t(array.row_bytes()));
    longest = std::max(longest, first_row.back().size());
  }
  std::vector<char> moving(longest);
  for (std::uint64_t start = 0; start < order.size(); ++start) {
    if (filled[start]) continue;
    for (std::size_t a = 0; a < arrays.size(); ++a) arrays[a].load(start, first_row[a].data());
    std::uint64_t place = start;
    for (;;) {
      filled[place] = true;
      std::uint64_t row = place;
      order.rows_at(&row, 1);
      if (row == start) break;
      for (const Rows& array : arrays) {
        array.load(row, moving.data());
        array.store(place, moving.data());
      }
      place = row;
    }
    for (std::size_t a = 0; a < arrays.size(); ++a) arrays[a].store(place, first_row[a].data());
  }
}

}  // namespace fastoptim
