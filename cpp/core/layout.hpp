// The order in which the elements of several arrays of one shape are walked together.
#pragma once

#include <vector>

#include "../kernels/kernels.hpp"

namespace fastoptim {

// Axes of several operands, merged and sorted so that the first operand is walked through
// memory in order, whichever way its axes lie.
struct Layout {
  std::vector<Index> extents;
  std::vector<std::vector<Index>> strides;  // bytes, per operand and axis
  Index size = 1;

  // Whether an operand's elements lie one after another.
  bool contiguous(std::size_t operand, Index item_size) const;
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

// Strides of an array of this shape whose elements lie one after another, in the order in which
// the operand is walked.
std::vector<Index> compact_strides(const Shape& shape, const Strides& operand);

// Whether two elements of an array share a byte: exact, for any strides.
bool overlaps_itself(const Shape& shape, const Strides& strides);

}  // namespace fastoptim
