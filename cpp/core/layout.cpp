#include "layout.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace fastoptim {
namespace {

// The axes of extent other than 1, in order of decreasing stride.
std::vector<int> by_decreasing_stride(const Shape& shape, const Index* strides) {
  std::vector<int> axes;
  for (int axis = 0; axis < shape.n_axes; ++axis)
    if (shape.extents[axis] != 1) axes.push_back(axis);
  std::stable_sort(axes.begin(), axes.end(),
                   [&](int a, int b) { return std::abs(strides[a]) > std::abs(strides[b]); });
  return axes;
}

}  // namespace

bool Layout::is_contiguous(std::size_t operand, Index item_size) const {
  Index expected = item_size;
  for (std::size_t axis = extents.size(); axis-- > 0; expected *= extents[axis])
    if (strides[operand][axis] != expected) return false;
  return true;
}

Layout make_layout(const Shape& shape, const std::vector<Strides>& operands) {
  Layout layout;
  layout.strides.resize(operands.size());
  layout.size = std::accumulate(shape.extents, shape.extents + shape.n_axes, Index(1),
                                std::multiplies<Index>());
  if (layout.size == 0) return layout;

  for (int axis : by_decreasing_stride(shape, operands[0].strides)) {
    // An axis merges with the one before it if, in every operand, a step along that one equals
    // extent*stride of this one.
    bool merges = !layout.extents.empty();
    for (std::size_t k = 0; merges && k < operands.size(); ++k)
      merges = layout.strides[k].back() == operands[k].strides[axis] * shape.extents[axis];
    if (merges)
      layout.extents.back() *= shape.extents[axis];
    else
      layout.extents.push_back(shape.extents[axis]);
    for (std::size_t k = 0; k < operands.size(); ++k) {
      if (merges) layout.strides[k].pop_back();
      layout.strides[k].push_back(operands[k].strides[axis]);
    }
  }
  if (layout.extents.empty()) {  // one element
    layout.extents.push_back(1);
    for (std::size_t k = 0; k < operands.size(); ++k)
      layout.strides[k].push_back(operands[k].item_size);
  }
  return layout;
}

std::vector<Index> compact_strides(const Shape& shape, const Strides& operand) {
  std::vector<Index> strides(shape.n_axes, operand.item_size);
  const std::vector<int> axes = by_decreasing_stride(shape, operand.strides);
  Index stride = operand.item_size;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    strides[*axis] = stride;
    stride *= shape.extents[*axis];
  }
  return strides;
}

bool overlaps_itself(const Shape& shape, const Strides& operand) {
  const Layout layout = make_layout(shape, {operand});
  if (layout.size <= 1) return false;

  // Sufficient for all but contrived layouts: each stride is at least the extent in bytes of the
  // axes inside it.
  Index within = operand.item_size;
  bool nested = true;
  for (std::size_t axis = layout.extents.size(); axis-- > 0;) {
    const Index stride = std::abs(layout.strides[0][axis]);
    nested = nested && stride >= within;
    within += stride * (layout.extents[axis] - 1);
  }
  if (nested) return false;

  // The address range is too narrow for so many elements. Saves broadcast arrays the enumeration
  // of all offsets below.
  if (within < layout.size * operand.item_size) return true;

  std::vector<Index> offsets{0};
  offsets.reserve(layout.size);
  for (std::size_t axis = 0; axis < layout.extents.size(); ++axis) {
    const std::size_t n = offsets.size();
    for (Index i = 1; i < layout.extents[axis]; ++i)
      for (std::size_t k = 0; k < n; ++k)
        offsets.push_back(offsets[k] + i * layout.strides[0][axis]);
  }
  std::sort(offsets.begin(), offsets.end());
  for (std::size_t k = 1; k < offsets.size(); ++k)
    if (offsets[k] - offsets[k - 1] < operand.item_size) return true;
  return false;
}

}  // namespace fastoptim
