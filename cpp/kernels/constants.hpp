// Sizes of the memory system, in bytes.
#pragma once

namespace fastoptim {

constexpr int cache_line = 64;
constexpr int page = 4096;
constexpr int huge_page = 1 << 21;

}  // namespace fastoptim
