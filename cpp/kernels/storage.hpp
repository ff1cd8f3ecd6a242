// Loading operands into buffers, and storing them back: strided elements and codecs.
#pragma once

#include "codecs.hpp"
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

// Elements [begin, begin + n) of an operand as they are stored: a pointer to where they lie, or, if
// they are strided, a copy in buffer. memcpy, since a strided element may lie at any address.
template <class T>
T* load_strided(const Tensor& tensor, const Operand& operand, Index begin, Index n, T* buffer) {
  if (!operand.strides) return reinterpret_cast<T*>(operand.data) + begin;
  T* to = buffer;
  for_runs(tensor, operand.strides, begin, n, [&](Index offset, Index stride, Index count) {
    for (Index i = 0; i < count; ++i)
      __builtin_memcpy(to + i, operand.data + offset + i * stride, sizeof(T));
    to += count;
  });
  return buffer;
}

// Inverse of load_strided. Contiguous elements were updated where they lie.
template <class T>
void store_strided(const Tensor& tensor, const Operand& operand, Index begin, Index n,
                   const T* buffer) {
  if (!operand.strides) return;
  for_runs(tensor, operand.strides, begin, n, [&](Index offset, Index stride, Index count) {
    for (Index i = 0; i < count; ++i)
      __builtin_memcpy(operand.data + offset + i * stride, buffer + i, sizeof(T));
    buffer += count;
  });
}

inline bool is_narrow(Storage storage) { return int(storage) >= n_compute_types; }

// Whether an operand's elements lie one after another and are stored as such.
inline bool is_contiguous_as(const Operand& operand, Storage storage) {
  return !operand.strides && operand.storage == storage;
}

// A whole tile of an operand as it is stored: a pointer to where it lies, or a copy in buffer. Beyond
// the n elements that the operand has, the tile is zero.
template <class T>
const T* load_tile(const Tensor& tensor, const Operand& operand, Index begin, Index n, T* buffer) {
  const T* const x = load_strided(tensor, operand, begin, n, buffer);
  if (n == tile) return x;
  if (x != buffer) __builtin_memcpy(buffer, x, std::size_t(n) * sizeof(T));
  __builtin_memset(buffer + n, 0, std::size_t(tile - n) * sizeof(T));
  return buffer;
}

// Inverse of load_tile: write(to) writes a tile, whose first n elements go to the operand.
template <class T, class Write>
void store_tile(const Tensor& tensor, const Operand& operand, Index begin, Index n,
                const Write& write) {
  T* const lies = reinterpret_cast<T*>(operand.data) + begin;
  if (!operand.strides && n == tile) return write(lies);
  T buffer[tile];
  write(buffer);
  if (operand.strides)
    store_strided(tensor, operand, begin, n, buffer);
  else
    __builtin_memcpy(lies, buffer, std::size_t(n) * sizeof(T));
}

inline void split(const float* __restrict from, Buffer& __restrict x) {
#pragma omp simd
  for (int i = 0; i < pairs; ++i) {
    x.even[i] = from[2 * i];
    x.odd[i] = from[2 * i + 1];
  }
}

inline void join(const Buffer& __restrict x, float* __restrict to) {
#pragma omp simd
  for (int i = 0; i < pairs; ++i) {
    to[2 * i] = x.even[i];
    to[2 * i + 1] = x.odd[i];
  }
}

// Decodes elements [begin, begin + n) of an operand, at most a tile, to float32.
inline void load(const Tensor& tensor, const Operand& operand, Index begin, Index n, Buffer& x) {
  const auto decode = [&](auto zero, const auto& f) {
    decltype(zero) stored[tile];
    f(load_tile(tensor, operand, begin, n, stored));
  };
  const auto words = [](const std::uint16_t* at) { return reinterpret_cast<const Word*>(at); };
  switch (operand.storage) {
    case Storage::bfloat16:
      return decode(std::uint16_t(), [&](auto* codes) { decode_bfloat16(words(codes), x); });
    case Storage::float16:
      return decode(std::uint16_t(), [&](auto* codes) { decode_float16(words(codes), x); });
    case Storage::signed8:
      return decode(std::int8_t(), [&](auto* codes) {
        decode_q8<Signed>(codes, operand.scales[begin / q8_block], x);
      });
    case Storage::unsigned8:
      return decode(std::uint8_t(), [&](auto* codes) {
        decode_q8<Unsigned>(codes, operand.scales[begin / q8_block], x);
      });
    default: return decode(0.0f, [&](const float* values) { split(values, x); });
  }
}

// Inverse of load: encodes to how the operand is stored.
template <Rounding rounding>
void store(const Tensor& tensor, const Operand& operand, Index begin, Index n, const Buffer& x) {
  const auto words = [](std::uint16_t* codes) { return reinterpret_cast<Word*>(codes); };
  switch (operand.storage) {
    case Storage::bfloat16:
      return store_tile<std::uint16_t>(tensor, operand, begin, n, [&](auto* codes) {
        encode_bfloat16<rounding>(x, words(codes));
      });
    case Storage::float16:
      return store_tile<std::uint16_t>(tensor, operand, begin, n, [&](auto* codes) {
        encode_float16<rounding>(x, words(codes));
      });
    case Storage::signed8:
      return store_tile<std::int8_t>(tensor, operand, begin, n, [&](auto* codes) {
        encode_q8<Signed, rounding>(x, codes, operand.scales[begin / q8_block]);
      });
    case Storage::unsigned8:
      return store_tile<std::uint8_t>(tensor, operand, begin, n, [&](auto* codes) {
        encode_q8<Unsigned, rounding>(x, codes, operand.scales[begin / q8_block]);
      });
    default:
      return store_tile<float>(tensor, operand, begin, n, [&](float* values) { join(x, values); });
  }
}

}  // namespace
}  // namespace fastoptim::FASTOPTIM_ISA
