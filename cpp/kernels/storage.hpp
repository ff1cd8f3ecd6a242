// How the elements of an operand come to where a rule can work on them, and go back.
#pragma once

#include "codecs.hpp"
#include "kernels.hpp"

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// Elements; all operands of a tile together stay within L1. In bfloat16 Adam takes 1.05 ns an
// element so, 1.12 with 256 and 1.26 with 128, since loops as short as that end too often (AVX2,
// one thread, arrays in L2).
constexpr Index tile = 512;
static_assert(tile % q8_block == 0, "a tile of q8 has whole blocks");

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

// Calls f(first, size) for the blocks that n elements are made of. The size of whole ones is a
// constant to the compiler, which saves 8 % of a step with states in q8.
template <class F>
inline void for_blocks(Index n, const F& f) {
  Index i = 0;
  for (; i + q8_block <= n; i += q8_block) f(i, int(q8_block));
  if (i < n) f(i, int(n - i));
}

template <class Law>
void decode_blocks(const Operand& operand, Index begin, Index n, float* x) {
  const auto* codes = reinterpret_cast<const typename Law::Code*>(operand.data) + begin;
  const std::uint8_t* const exponents = operand.scales + begin / q8_block;
  for_blocks(n, [&](Index i, int size) {
    decode_q8<Law>(codes + i, exponents[i / q8_block], x + i, size);
  });
}

// All scales first: the search for one's largest element need not be over before the next begins,
// which saves 9 % of a step.
template <class Law, Rounding rounding>
void encode_blocks(const Operand& operand, Index begin, Index n, const float* x,
                   const Bits* words) {
  auto* codes = reinterpret_cast<typename Law::Code*>(operand.data) + begin;
  std::uint8_t* const exponents = operand.scales + begin / q8_block;
  Scale scales[tile / q8_block];
  for_blocks(n, [&](Index i, int size) {
    const Scale scale = choose_scale<Law>(x + i, size);
    scales[i / q8_block] = scale;
    exponents[i / q8_block] = scale.exponent;
  });
  for_blocks(n, [&](Index i, int size) {
    encode_q8<Law, rounding>(x + i, codes + i, scales[i / q8_block], words ? words + i : words,
                             size);
  });
}

// A tile of an operand as plain T; decoded into buffer if it is stored as anything else.
template <class T>
T* load(const Tensor& tensor, const Operand& operand, Index begin, Index n, T* buffer) {
  if (!is_narrow(operand.storage)) return gather(tensor, operand, begin, n, buffer);
  if constexpr (sizeof(T) == sizeof(float)) {
    std::uint16_t halves[tile];
    switch (operand.storage) {
      case Storage::bfloat16:
        decode_bfloat16(gather(tensor, operand, begin, n, halves), buffer, int(n));
        break;
      case Storage::float16:
        decode_float16(gather(tensor, operand, begin, n, halves), buffer, int(n));
        break;
      case Storage::signed8:
        decode_blocks<Signed>(operand, begin, n, buffer);
        break;
      default:
        decode_blocks<Unsigned>(operand, begin, n, buffer);
    }
  }
  return buffer;
}

template <Rounding rounding>
void encode(const Tensor& tensor, const Operand& operand, Index begin, Index n, const float* x,
            const Bits* words) {
  std::uint16_t halves[tile];
  std::uint16_t* const to = operand.strides
                                ? halves
                                : reinterpret_cast<std::uint16_t*>(operand.data) + begin;
  switch (operand.storage) {
    case Storage::bfloat16:
      encode_bfloat16<rounding>(x, to, words, int(n));
      scatter(tensor, operand, begin, n, to);
      break;
    case Storage::float16:
      encode_float16<rounding>(x, to, words, int(n));
      scatter(tensor, operand, begin, n, to);
      break;
    case Storage::signed8:
      encode_blocks<Signed, rounding>(operand, begin, n, x, words);
      break;
    default:
      encode_blocks<Unsigned, rounding>(operand, begin, n, x, words);
  }
}

// The way back of a tile.
template <class T>
void store(const Tensor& tensor, const Operand& operand, Index begin, Index n, const T* x,
           Draws draws) {
  if (!is_narrow(operand.storage)) {
    scatter(tensor, operand, begin, n, x);
  } else if constexpr (sizeof(T) == sizeof(float)) {
    switch (draws.rounding) {
      case Rounding::nearest:
        encode<Rounding::nearest>(tensor, operand, begin, n, x, draws.words);
        break;
      case Rounding::uppermost:
        encode<Rounding::uppermost>(tensor, operand, begin, n, x, draws.words);
        break;
      case Rounding::lowest:
        encode<Rounding::lowest>(tensor, operand, begin, n, x, draws.words);
    }
  }
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
