#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

namespace fastoptim {

#define FASTOPTIM_DECLARE(isa)     \
  namespace isa {                  \
  const Kernels& table() noexcept; \
  }
FASTOPTIM_DECLARE(baseline)
#ifdef FASTOPTIM_X86
FASTOPTIM_DECLARE(avx2)
FASTOPTIM_DECLARE(avx512)
#endif

namespace {

// An instruction set that this library was compiled for.
struct Variant {
  const Kernels& table;
  bool available;
};

// In order of preference, the best last. __builtin_cpu_supports reads cpuid, and xgetbv to find
// whether the operating system saves the wide registers.
std::vector<Variant> variants() {
  std::vector<Variant> list{{baseline::table(), true}};
#ifdef FASTOPTIM_X86
  __builtin_cpu_init();
  list.push_back({avx2::table(), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")});
  list.push_back({avx512::table(),
                  __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")});
#endif
  return list;
}

std::vector<std::string> names(bool only_available) {
  std::vector<std::string> list;
  for (const Variant& variant : variants())
    if (variant.available || !only_available) list.emplace_back(variant.table.isa);
  return list;
}

const Kernels& choose_kernels() {
  const char* forced = std::getenv("FASTOPTIM_ISA");
  const Kernels* best = nullptr;
  std::string available;
  for (const Variant& variant : variants()) {
    if (!variant.available) continue;
    available += (available.empty() ? "" : ", ") + std::string(variant.table.isa);
    if (!forced || !*forced || std::string(forced) == variant.table.isa) best = &variant.table;
  }
  if (!best)
    throw std::invalid_argument("FASTOPTIM_ISA must be one of those available here (" + available +
                                "), got '" + forced + "'");
  return *best;
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose_kernels();
  return chosen;
}

std::vector<std::string> built_isas() { return names(false); }
std::vector<std::string> available_isas() { return names(true); }

}  // namespace fastoptim
