// Selects the kernels for the processor's instruction set, at run time.
#pragma once

#include <string>
#include <vector>

#include "../kernels/kernels.hpp"

namespace fastoptim {

// The best table that the processor and the operating system support, or the one that the
// environment variable FASTOPTIM_ISA names. Throws std::invalid_argument if that one is not
// available.
const Kernels& kernels();

std::vector<std::string> built_isas();      // compiled into this library, the best last
std::vector<std::string> available_isas();  // those of them that this machine can run

}  // namespace fastoptim
