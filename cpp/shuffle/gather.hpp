// Gathers chosen rows of arrays, along any axis, into contiguous batches.
#pragma once

#include <vector>

#include "../core/layout.hpp"
#include "../core/wake_policy.hpp"
#include "row_order.hpp"

namespace fastoptim {

// Below this many bytes one thread gathers a batch: at this size, one and two threads took 10 and
// 9 us for rows of 3 KiB, 17 and 13 us for rows of 128 B.
constexpr Index serial_below_bytes = 1 << 16;

// From this many bytes on, a gather wakes threads that sleep. After 0.4 ms of matrix products, one
// and two threads took 23 and 46 us for 64 rows of 3 KiB, 89 and 103 for 256, 179 and 134 for 512.
constexpr Index wake_from_bytes = 1 << 20;

// A view of an array as rows along one of its axes. A batch of its rows is contiguous and has the
// memory order of the array's axes.
class Rows {
 public:
  Rows(char* data, const Shape& shape, const Strides& strides, int axis);

  Index n_rows() const noexcept { return n_rows_; }
  Index row_bytes() const noexcept { return n_outer_ * piece_bytes_; }
  void batch_strides(Index count, Index* strides) const noexcept;  // bytes, per axis of the array

  // Copies `count` rows into a batch of batch_rows rows, from row `at` of the batch on.
  void gather(const std::uint64_t* rows, Index count, char* batch, Index at,
              Index batch_rows) const noexcept;

  // Prefetches the first of these rows.
  void prefetch(const std::uint64_t* rows, Index count) const noexcept;

  // Copy one row to or from row_bytes() of contiguous memory.
  void load(std::uint64_t row, char* to) const noexcept;
  void store(std::uint64_t row, const char* from) const noexcept;

  // Whether the rows are contiguous and follow one another in memory, so that row() gives the
  // address of a range of rows.
  bool is_sequential() const noexcept;
  char* row(std::uint64_t index) const noexcept { return data_ + Index(index) * stride_; }

 private:
  struct Axis {
    Index extent, stride;
  };
  void prefetch(const char* piece) const noexcept;
  template <bool to_array, class Copy>
  void copy_piece(char* piece, char* batch, const Copy& copy) const noexcept;
  template <class Copy>
  void gather_by(const std::uint64_t* rows, Index count, char* batch, Index at, Index batch_rows,
                 const Copy& copy) const noexcept;
  template <class F>
  void with_copy(const F& f) const noexcept;
  Index outer_offset(Index outer) const noexcept;

  char* data_;
  Index n_rows_, stride_;    // bytes from a row to the next
  std::vector<Axis> outer_;  // axes with longer strides than the rows': each holds a piece of a row
  Index n_outer_ = 1;
  std::vector<Axis> inner_;  // axes inside a piece, around contiguous runs of bytes
  Index run_bytes_, piece_bytes_;
  struct BatchAxis {
    int axis;
    Index extent;
  };
  std::vector<BatchAxis> order_;  // axes of a batch, outermost first; extent 0 marks the rows'
  Index item_size_;
};

// Gathers the rows at positions first, first + 1, ... of a window's order, from every array into its
// batch, from row `at` of the batch's batch_rows rows on. Fused with the computation of the row
// indices, so that these stay in L1.
void gather_batch(const std::vector<Rows>& arrays, const Window& window, std::uint64_t first,
                  Index count, const std::vector<char*>& batches, Index at, Index batch_rows,
                  WakePolicy& wake_policy);

// Permutes the rows of the arrays in place: row k becomes what was row order[k].
void shuffle(const std::vector<Rows>& arrays, const Permutation& order);

}  // namespace fastoptim
