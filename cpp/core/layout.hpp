// The order in which a loop visits the elements of several arrays of one shape.
#pragma once

#include <vector>

#include "../kernels/kernels.hpp"

namespace fastoptim {

// The axes of several operands, sorted and merged so that the first operand is traversed in memory
// order, whatever the order of its axes.
struct Layout {
  std::vector<Index> extents;
  std::vector<std::vector<Index>> strides;  // bytes, per operand and axis
  Index size = 1;

  // Whether an operand's elements are contiguous in the layout's order.
  bool is_contiguous(std::size_t operand, Index item_size) const;
};

struct Shape {
  int n_axes;
  const Index* extents;
};

struct Strides {
  const Index* strides;  // bytes, one per axis
  Index item_size;
};

Layout make_layout(const Shape& shape, const std::vector<Strides>& operands);

// Strides of a contiguous array of this shape that has the operand's memory order.
std::vector<Index> compact_strides(const Shape& shape, const Strides& operand);

// Whether two elements of an array share a byte. Exact for any strides.
bool overlaps_itself(const Shape& shape, const Strides& strides);

}  // namespace fastoptim
