// How the elements of an operand come to where a rule can work on them, and go back.
#pragma once

#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// Calls visit(offset, stride, count) for each run along the last axis that elements
// [begin, begin + n) are made of.
template <class Visit>
void for_runs(const Tensor& tensor, const Index* strides, Index begin, Index n, Visit visit) {
  const int last = tensor.n_axes - 1;
  Index position[max_axes], offset = 0;
  for (int axis = last; axis >= 0; --axis) {
    position[axis] = begin % tensor.extents[axis];
    begin /= tensor.extents[axis];
    offset += position[axis] * strides[axis];
  }
  while (n > 0) {
    const Index left = tensor.extents[last] - position[last];
    const Index count = n < left ? n : left;
    visit(offset, strides[last], count);
    n -= count;
    position[last] += count;
    offset += count * strides[last];
    for (int axis = last; axis > 0 && position[axis] == tensor.extents[axis]; --axis) {
      position[axis] = 0;
      ++position[axis - 1];
      offset += strides[axis - 1] - tensor.extents[axis] * strides[axis];
    }
  }
}

// Elements [begin, begin + n) of an operand as plain T: where they lie, or gathered into buffer.
// Element by element through memcpy, since a strided element may lie at any address.
template <class T>
T* load(const Tensor& tensor, const Operand& operand, Index begin, Index n, T* buffer) {
  if (!operand.strides) return reinterpret_cast<T*>(operand.data) + begin;
  T* to = buffer;
  for_runs(tensor, operand.strides, begin, n, [&](Index offset, Index stride, Index count) {
    for (Index i = 0; i < count; ++i)
      __builtin_memcpy(to + i, operand.data + offset + i * stride, sizeof(T));
    to += count;
  });
  return buffer;
}

// The way back: nothing to do for elements that were updated where they lie.
template <class T>
void store(const Tensor& tensor, const Operand& operand, Index begin, Index n, const T* buffer) {
  if (!operand.strides) return;
  for_runs(tensor, operand.strides, begin, n, [&](Index offset, Index stride, Index count) {
    for (Index i = 0; i < count; ++i)
      __builtin_memcpy(operand.data + offset + i * stride, buffer + i, sizeof(T));
    buffer += count;
  });
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
