// Fills the table of one instruction set. Compiled once for each, into a namespace of its own.
//
// Nothing in here may be shared between instruction sets: no STL, and all but table() in an
// anonymous namespace. A weak symbol compiled for AVX-512 could replace everyone's copy.
#include "kernels.hpp"

#include "ewma.hpp"
#include "feistel.hpp"
#include "roofline.hpp"
#include "rules.hpp"
#include "stream_copy.hpp"
#include "sweep.hpp"

#define FASTOPTIM_STRING_(x) #x
#define FASTOPTIM_STRING(x) FASTOPTIM_STRING_(x)

namespace fastoptim::FASTOPTIM_ISA {
namespace {

// Options and factors cross the boundary as arrays of double, which their structs must look like.
template <class Rule>
void make_factors(const double* options, double t, double lr, double* factors) noexcept {
  using Options = typename Rule::Options;
  using Factors = typename Rule::Factors;
  static_assert(count(Rule::facts.options) == 0 ||
                sizeof(Options) == count(Rule::facts.options) * sizeof(double));
  static_assert(sizeof(Factors) <= max_coefficients * sizeof(double));
  Options named{};
  __builtin_memcpy(&named, options, count(Rule::facts.options) * sizeof(double));
  const Factors result = Rule::factors(named, t, lr);
  __builtin_memcpy(factors, &result, sizeof(Factors));
}

template <template <class, bool> class Rule>
constexpr RuleKernels kernels_of = {Rule<float, false>::facts,
                                    n_states<Rule<float, false>>,
                                    count(Rule<float, false>::facts.options),
                                    make_factors<Rule<float, false>>,
                                    {sweep<Rule, float>, sweep<Rule, double>}};

#define FASTOPTIM_ENTRY(Rule) kernels_of<Rule>,

constexpr RuleKernels rules[] = {FASTOPTIM_RULES(FASTOPTIM_ENTRY)};

constexpr Kernels kernels = {
    FASTOPTIM_STRING(FASTOPTIM_ISA),
    rules,
    sizeof(rules) / sizeof(rules[0]),
    {ewma<float>, ewma<double>},
    {{roofline<float, 0>, roofline<float, 1>, roofline<float, 2>, roofline<float, 3>},
     {roofline<double, 0>, roofline<double, 1>, roofline<double, 2>, roofline<double, 3>}},
    feistel<false>,
    feistel<true>,
    stream_copy,
    copy,
};

}  // namespace

const Kernels& table() noexcept;
const Kernels& table() noexcept { return kernels; }

}  // namespace fastoptim::FASTOPTIM_ISA
