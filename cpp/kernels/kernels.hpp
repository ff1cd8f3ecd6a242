// The table of functions that one instruction set offers, and the plain data they work on.
//
// Shared by the kernel files and their callers, so it holds declarations only: anything inline
// in here would be compiled once per instruction set, and the linker would keep any one of them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastoptim {

using Index = std::ptrdiff_t;

constexpr int max_states = 3;
constexpr int max_operands = 2 + max_states;
constexpr int max_options = 5;
constexpr int max_coefficients = 8;
constexpr int max_axes = 64;  // NumPy's limit

// How an element is stored. The first two are also what a rule computes in: float64 in itself,
// all others in float32. The last two are q8, for states only: the codes of blocks of q8_block
// elements that share a scale.
enum class Storage : std::uint8_t { float32, float64, bfloat16, float16, signed8, unsigned8 };
constexpr int n_compute_types = 2;
constexpr Index item_sizes[] = {4, 8, 2, 2, 1, 1};
constexpr Index q8_block = 128;

// One array of a tensor. Without strides its elements lie one after another, as q8 always does.
struct Operand {
  char* data = nullptr;
  const Index* strides = nullptr;  // bytes, one per axis
  Storage storage = Storage::float32;
  std::uint8_t* scales = nullptr;  // of q8: an exponent a block
};

// A parameter with all that goes with it: operands[0] is the parameter, [1] the gradient, the
// rest are states. Elements are counted in C order of the axes.
struct Tensor {
  Operand operands[max_operands];
  Operand rounded_param;  // if its data is set: a copy of the parameter, rounded to nearest
  const Index* extents = nullptr;
  int n_axes = 0;
  Index size = 0;
  std::uint64_t index = 0;  // its place in the list of tensors: random bits depend on it
};

// What a step multiplies by: computed in double once a step, and rounded once to the compute type
// by the kernel.
struct Coefficients {
  bool maximize;                  // g = -g, first
  double l2;                      // then g = g + l2*p, where l2 is not 0
  double decay;                   // p = p*decay, before the rule: decoupled weight decay
  double rule[max_coefficients];  // the rule's own: its struct Factors
  bool stochastic;                // how what is stored in fewer bytes is rounded
  std::uint64_t seed, step;       // random bits depend on both
  // These change no bit.
  bool subnormals;  // whether to look for them in the states
  bool cached;      // whether all that is stepped is small enough for the processors' caches
};

// What values an option of a rule may have.
enum class OptionKind : std::uint8_t {
  fraction,           // in [0, 1)
  optional_fraction,  // such a number, or none: NaN
  nonnegative,        // finite and >= 0
  flag,               // 0 or 1
};

// The facts of a rule, which stand in its functor and nowhere else (rules.hpp). A list ends where a
// name is null.
struct StateFacts {
  const char* name = nullptr;
  bool nonnegative = false;  // an average of squares, or the like: needs no sign
};
struct OptionFacts {
  const char* name = nullptr;
  OptionKind kind = {};
};
struct RuleFacts {
  const char* name;
  // The options that, where they are set, select this variant of the rule among all of that name.
  const char* selected_by[max_states];
  StateFacts states[max_states + 1];     // in the order of Tensor::operands
  OptionFacts options[max_options + 1];  // in the order of the rule's struct Options
};

// A rule's coefficients of step t, counted from 1, from its options and the learning rate.
using MakeCoefficients = void (*)(const double* options, double t, double lr,
                                  double* coefficients) noexcept;

// Updates elements [begin, end) of a tensor.
using Sweep = void (*)(const Tensor&, const Coefficients&, Index begin, Index end) noexcept;

struct RuleKernels {
  RuleFacts facts;
  int n_states, n_options;
  MakeCoefficients coefficients;
  Sweep sweep[n_compute_types];
};

// A block of series, all stepped through time together: element (time, series) of x lies at
// data + time*time_stride + series*series_stride.
struct Series {
  const char* x;
  char* out;
  Index x_time_stride, x_series_stride, out_time_stride, out_series_stride;
  Index n_times, n_series;
};

using Ewma = void (*)(const Series&, double beta, bool bias_correction) noexcept;

// The loop of roofline.hpp over elements [begin, end) of the arrays, in the order of
// Tensor::operands.
using RooflineLoop = void (*)(char* const* arrays, Index begin, Index end) noexcept;

// A Feistel network over the integers below 2^(high_bits + low_bits): docs/permutation.md.
constexpr int n_rounds = 8;
struct Network {
  std::uint32_t keys[n_rounds];
  int high_bits, low_bits;  // at most 24 each
};

// Puts every x through the network, or back, where it stands.
using Feistel = void (*)(const Network&, std::uint64_t* x, Index count) noexcept;

// Copies whole cache lines, to where one begins, past the caches. Other threads see them after a
// fence for stores (x86's sfence).
using StreamCopy = void (*)(char* to, const char* from, Index bytes) noexcept;

struct Kernels {
  const char* isa;
  const RuleKernels* rules;
  int n_rules;
  Ewma ewma[n_compute_types];
  RooflineLoop roofline[n_compute_types][max_states + 1];  // by the number of states
  Feistel feistel, feistel_inverse;
  StreamCopy stream_copy;
  Sweep copy;  // operands[1] into operands[0], both computed in float32
};

}  // namespace fastoptim
