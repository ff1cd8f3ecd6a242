// Fills the table of one instruction set. Compiled once for each, into a namespace of its own.
//
// Nothing in here may be shared between instruction sets: no STL, and all but table() in an
// anonymous namespace. A weak symbol compiled for AVX-512 could replace everyone's copy.
#include "kernels.hpp"

#include "../../bench/roof.hpp"
#include "ewma.hpp"
#include "feistel.hpp"
#include "rules.hpp"
#include "stream_copy.hpp"
#include "sweep.hpp"

#define FASTOPTIM_STRING_(x) #x
#define FASTOPTIM_STRING(x) FASTOPTIM_STRING_(x)

namespace fastoptim::FASTOPTIM_ISA {
namespace {

template <template <class, bool> class Rule>
constexpr RuleKernels kernels_of = {Rule<float, false>::name,
                                    Rule<float, false>::n_states,
                                    Rule<float, false>::n_options,
                                    Rule<float, false>::coefficients,
                                    {sweep<Rule, float>, sweep<Rule, double>}};

#define FASTOPTIM_ENTRY(Rule) kernels_of<Rule>,

constexpr RuleKernels rules[] = {FASTOPTIM_RULES(FASTOPTIM_ENTRY)};

constexpr Kernels kernels = {
    FASTOPTIM_STRING(FASTOPTIM_ISA),
    rules,
    sizeof(rules) / sizeof(rules[0]),
    {ewma<float>, ewma<double>},
    {{roof<float, 0>, roof<float, 1>, roof<float, 2>, roof<float, 3>},
     {roof<double, 0>, roof<double, 1>, roof<double, 2>, roof<double, 3>}},
    feistel<false>,
    feistel<true>,
    stream_copy,
    copy,
};

}  // namespace

const Kernels& table() noexcept;
const Kernels& table() noexcept { return kernels; }

}  // namespace fastoptim::FASTOPTIM_ISA
