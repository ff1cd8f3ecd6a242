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

// Indices computed at a time, on the stack; the rows they name are then copied.
constexpr Index index_block = 1024;

// Rows ahead of the copy that are asked for, into the second cache, and how much of each: what is
// longer, the processor's own prefetcher goes on with. Medians on two threads, ns a row, of 8 rows
// ahead and 512 bytes into the first cache, and so: 6.6 and 5.1 for rows of 16 B, 8.1 and 7.0 for
// 128 B, 194 and 162 for 3 KiB, in batches of 8192. 32 rows ahead won 0.6 ns for 16 B, and lost 19
// for 3 KiB in batches of 64.
constexpr Index prefetch_rows = 16;
constexpr Index prefetch_bytes = 4096;

// Bytes of a batch of one array from which it is stored past the caches. Rows of 3 KiB on two
// threads, ns a row, through the caches and past them, with a reader of the batch in it: 260 and
// 318 for batches of 3 MiB, 294 and 302 for 6 MiB, 456 and 314 for 24 MiB.
constexpr Index stream_from = 8 << 20;

// Bytes of a batch below which one thread copies it: at this size, one and two threads took 10 and
// 9 us for rows of 3 KiB, 17 and 13 us for rows of 128 B.
constexpr Index serial_below = 1 << 16;

// And bytes below which threads that sleep are left asleep. After 0.4 ms of matrix products, one
// and two threads took 23 and 46 us for 64 rows of 3 KiB, 89 and 103 for 256, 179 and 134 for 512.
constexpr Index serial_if_asleep_below = 1 << 20;

template <Index bytes>
struct FixedCopy {
  void operator()(char* to, const char* from) const noexcept { std::memcpy(to, from, bytes); }
};

struct AnyCopy {
  Index bytes;
  void operator()(char* to, const char* from) const noexcept {
    std::memcpy(to, from, std::size_t(bytes));
  }
};

struct PastCaches {
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

bool Rows::sequential() const noexcept {
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

// A piece of one row, between the array, where it may have gaps, and a batch.
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

// A copy of a fixed size is a move or two; memcpy of any size, a call.
template <class F>
void Rows::dispatch(const F& f) const noexcept {
  switch (run_bytes_) {
    case 1: return f(FixedCopy<1>());
    case 2: return f(FixedCopy<2>());
    case 4: return f(FixedCopy<4>());
    case 8: return f(FixedCopy<8>());
    case 16: return f(FixedCopy<16>());
    case 32: return f(FixedCopy<32>());
    case 64: return f(FixedCopy<64>());
    case 128: return f(FixedCopy<128>());
    default: return f(AnyCopy{run_bytes_});
  }
}

void Rows::gather(const std::uint64_t* rows, Index count, char* batch, Index at,
                  Index batch_rows) const noexcept {
  if (piece_bytes_ == 0 || count == 0) return;
  // A single row that shuffle() sets aside may begin within a line.
  const bool whole_lines =
      run_bytes_ % cache_line == 0 && reinterpret_cast<std::uintptr_t>(batch) % cache_line == 0;
  if (batch_rows * row_bytes() >= stream_from && whole_lines) {
    gather_by(rows, count, batch, at, batch_rows, PastCaches{run_bytes_, kernels().stream_copy});
#ifdef __SSE2__
    _mm_sfence();  // else other threads may see what follows before what was stored past the caches
#endif
    return;
  }
  dispatch([&](const auto& copy) { gather_by(rows, count, batch, at, batch_rows, copy); });
}

void Rows::load(std::uint64_t row, char* to) const noexcept { gather(&row, 1, to, 0, 1); }

void Rows::store(std::uint64_t row, const char* from) const noexcept {
  if (piece_bytes_ == 0) return;
  dispatch([&](const auto& copy) {
    for (Index outer = 0; outer < n_outer_; ++outer)
      copy_piece<true>(data_ + outer_offset(outer) + Index(row) * stride_,
                       const_cast<char*>(from) + outer * piece_bytes_, copy);
  });
}

void gather(const std::vector<Rows>& arrays, const Window& window, std::uint64_t first, Index count,
            const std::vector<char*>& batches, Index at, Index batch_rows, Pace& pace) {
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
  pace.run(bytes, serial_below, serial_if_asleep_below, [&](bool serial) {
    // A piece long enough to ask for rows ahead of their copy.
    parallel_for(count, serial, gather_part, 8 * prefetch_rows);
  });
}

// Follows the cycles of the order. A bit a row says which places are filled.
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
