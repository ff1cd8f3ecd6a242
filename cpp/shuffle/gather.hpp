// Copies chosen rows of an array, whichever axis they lie along, into a batch and back.
#pragma once

#include <vector>

#include "../core/layout.hpp"
#include "../core/parallel.hpp"
#include "row_order.hpp"

namespace fastoptim {

// An array seen as rows along one of its axes. A batch of its rows lies without gaps, its axes in
// the order in memory that the array's have.
class Rows {
 public:
  Rows(char* data, const Shape& shape, const Strides& strides, int axis);

  Index n_rows() const noexcept { return n_rows_; }
  Index row_bytes() const noexcept { return n_outer_ * piece_bytes_; }
  void batch_strides(Index count, Index* strides) const noexcept;  // bytes, per axis of the array

  // Places count rows into a batch of batch_rows, from its row `at` on.
  void gather(const std::uint64_t* rows, Index count, char* batch, Index at,
              Index batch_rows) const noexcept;

  // Asks for the memory of the first of these rows.
  void prefetch(const std::uint64_t* rows, Index count) const noexcept;

  // One row to and from row_bytes() of memory without gaps.
  void load(std::uint64_t row, char* to) const noexcept;
  void store(std::uint64_t row, const char* from) const noexcept;

  // Where a range of rows lies, if each row is one piece and they follow one another.
  bool sequential() const noexcept;
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
  void dispatch(const F& f) const noexcept;
  Index outer_offset(Index outer) const noexcept;

  char* data_;
  Index n_rows_, stride_;    // bytes from a row to the next
  std::vector<Axis> outer_;  // axes with longer strides than the rows': a row has a piece in each
  Index n_outer_ = 1;
  std::vector<Axis> inner_;  // axes inside a piece, around runs of bytes without gaps
  Index run_bytes_, piece_bytes_;
  struct BatchAxis {
    int axis;
    Index extent;
  };
  std::vector<BatchAxis> order_;  // the axes of a batch, outermost first; extent 0: the rows'
  Index item_size_;
};

// Rows in the order's positions first, first + 1, ... of every array, fused with the computation
// of which rows those are. Each batch holds batch_rows rows, of which these go to `at` and behind.
// pace: that of such gathers.
void gather(const std::vector<Rows>& arrays, const Window& window, std::uint64_t first, Index count,
            const std::vector<char*>& batches, Index at, Index batch_rows, Pace& pace);

// Puts the arrays themselves into an order, in place: row k becomes what was row order[k].
void shuffle(const std::vector<Rows>& arrays, const Permutation& order);

}  // namespace fastoptim
