// How the elements of an operand come to where a rule can work on them, and go back.
#pragma once

#include "codecs.hpp"
#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

constexpr Index tile = 128;  // elements; all operands of a tile together stay within L1
static_assert(tile == q8_block, "a tile of q8 has one scale");

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

// Elements [begin, begin + n) of an operand as they are stored: where they lie, or gathered into
// buffer. Element by element through memcpy, since a strided element may lie at any address.
template <class T>
T* gather(const Tensor& tensor, const Operand& operand, Index begin, Index n, T* buffer) {
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
void scatter(const Tensor& tensor, const Operand& operand, Index begin, Index n, const T* buffer) {
  if (!operand.strides) return;
  for_runs(tensor, operand.strides, begin, n, [&](Index offset, Index stride, Index count) {
    for (Index i = 0; i < count; ++i)
      __builtin_memcpy(operand.data + offset + i * stride, buffer + i, sizeof(T));
    buffer += count;
  });
}

inline bool is_narrow(Storage storage) { return int(storage) >= n_compute_types; }

// A tile of an operand as plain T; decoded into buffer if it is stored as anything else.
template <class T>
T* load(const Tensor& tensor, const Operand& operand, Index begin, Index n, T* buffer) {
  if (!is_narrow(operand.storage)) return gather(tensor, operand, begin, n, buffer);
  if constexpr (sizeof(T) == sizeof(float)) {
    std::uint16_t halves[tile];
    switch (operand.storage) {
      case Storage::bfloat16:
        decode_bfloat16(gather(tensor, operand, begin, n, halves), buffer, n);
        break;
      case Storage::float16:
        decode_float16(gather(tensor, operand, begin, n, halves), buffer, n);
        break;
      case Storage::signed8:
        decode_q8<Signed>(reinterpret_cast<std::int8_t*>(operand.data) + begin,
                          operand.scales[begin / q8_block], buffer, n);
        break;
      default:
        decode_q8<Unsigned>(reinterpret_cast<std::uint8_t*>(operand.data) + begin,
                            operand.scales[begin / q8_block], buffer, n);
    }
  }
  return buffer;
}

template <bool stochastic>
void encode(const Tensor& tensor, const Operand& operand, Index begin, Index n, const float* x,
            Draws draws) {
  std::uint16_t halves[tile];
  std::uint16_t* const to = operand.strides
                                ? halves
                                : reinterpret_cast<std::uint16_t*>(operand.data) + begin;
  switch (operand.storage) {
    case Storage::bfloat16:
      encode_bfloat16<stochastic>(x, to, draws, n);
      scatter(tensor, operand, begin, n, to);
      break;
    case Storage::float16:
      encode_float16<stochastic>(x, to, draws, n);
      scatter(tensor, operand, begin, n, to);
      break;
    case Storage::signed8:
      encode_q8<Signed, stochastic>(x, reinterpret_cast<std::int8_t*>(operand.data) + begin,
                                    operand.scales + begin / q8_block, draws, n);
      break;
    default:
      encode_q8<Unsigned, stochastic>(x, reinterpret_cast<std::uint8_t*>(operand.data) + begin,
                                      operand.scales + begin / q8_block, draws, n);
  }
}

// The way back of a tile; draws hold no words to round to nearest.
template <class T>
void store(const Tensor& tensor, const Operand& operand, Index begin, Index n, const T* x,
           Draws draws) {
  if (!is_narrow(operand.storage)) {
    scatter(tensor, operand, begin, n, x);
  } else if constexpr (sizeof(T) == sizeof(float)) {
    if (draws.words) encode<true>(tensor, operand, begin, n, x, draws);
    else encode<false>(tensor, operand, begin, n, x, draws);
  }
}

// Which random bits the operands of a tensor are rounded with: states first, then the parameter,
// two to a word.
class Dither {
 public:
  Dither(const Tensor& tensor, const Coefficients& c, int n_operands)
      : key_(mix64(mix64(mix64(c.seed) + c.step) + tensor.number)) {
    if (!c.stochastic) return;
    for (int k = 2; k < n_operands; ++k) assign(tensor, k);
    assign(tensor, 0);
  }

  void draw_tile(Index begin, Index n) {
    if (n_draws_ > 0) draw(words_[0], key_ + std::uint64_t(begin), n);
    if (n_draws_ > 2) draw_more(words_[1], words_[0], n);
  }

  Draws operator[](int operand) const { return draws_[operand]; }

 private:
  void assign(const Tensor& tensor, int operand) {
    if (!is_narrow(tensor.operands[operand].storage)) return;
    draws_[operand] = {words_[n_draws_ / 2], n_draws_ % 2 == 0};
    ++n_draws_;
  }

  std::uint64_t key_;
  int n_draws_ = 0;
  Draws draws_[max_operands];
  alignas(64) Bits words_[2][tile];
};

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
