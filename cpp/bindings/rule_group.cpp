#include "rule_group.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "../core/dispatch.hpp"

namespace fastoptim {
namespace {

// The name of a rule, then the options that select its variant.
std::string full_name(const RuleFacts& facts) {
  std::string name = facts.name;
  for (const char* const* option = facts.selected_by; *option; ++option)
    name += std::string("_") + *option;
  return name;
}

// Whether that is a rule's full name. Allocates nothing, since adam_ and its like ask at each call.
bool has_full_name(const RuleFacts& facts, std::string_view name) {
  const auto skip = [&](std::string_view part) {
    const bool found = name.substr(0, part.size()) == part;
    if (found) name.remove_prefix(part.size());
    return found;
  };
  if (!skip(facts.name)) return false;
  for (const char* const* option = facts.selected_by; *option; ++option)
    if (!skip("_") || !skip(*option)) return false;
  return name.empty();
}

const RuleKernels& find_rule(const std::string& name) {
  for (int k = 0; k < kernels().n_rules; ++k)
    if (has_full_name(kernels().rules[k].facts, name)) return kernels().rules[k];
  throw py::value_error("rule must be one of the compiled ones, got '" + name + "'");
}

// Whether T represents x: x is finite in T, and not rounded to 0 unless it is 0.
//
// Compares bit patterns, without a branch, because each step tests every coefficient: of all
// magnitudes minus 1, those of infinity and NaN are the largest, and so is that of 0.
template <class T>
bool is_representable(double x) {
  using Bits = std::conditional_t<sizeof(T) == sizeof(float), std::uint32_t, std::uint64_t>;
  constexpr Bits all = ~Bits(0), magnitude = all >> 1;
  constexpr Bits infinity = all << (std::numeric_limits<T>::digits - 1) & magnitude;
  const T rounded = T(x);
  Bits bits;
  std::uint64_t bits_of_x;
  std::memcpy(&bits, &rounded, sizeof(bits));
  std::memcpy(&bits_of_x, &x, sizeof(bits_of_x));
  return ((bits & magnitude) - 1 < infinity - 1) | (bits_of_x << 1 == 0);
}

template <class T>
bool all_representable(const Coefficients& c) {
  bool all = is_representable<T>(c.l2) & is_representable<T>(c.decay);
  for (double x : c.rule) all &= is_representable<T>(x);
  return all;
}

}  // namespace

py::tuple RuleSpec::pack(const py::str& kernel, double weight_decay, bool decoupled, bool maximize,
                         const py::sequence& options) {
  return py::make_tuple(kernel, weight_decay, decoupled, maximize, options);
}

RuleSpec::RuleSpec(py::handle packed) {
  std::tie(kernel, weight_decay, decoupled, maximize, options) =
      packed.cast<std::tuple<std::string, double, bool, bool, std::vector<double>>>();
}

RuleGroup::RuleGroup(const RuleSpec& spec)
    : rule_(&find_rule(spec.kernel)),
      weight_decay_(spec.weight_decay),
      decoupled_(spec.decoupled),
      maximize_(spec.maximize) {
  if (int(spec.options.size()) != rule_->n_options)
    throw py::value_error(spec.kernel + " takes " + std::to_string(rule_->n_options) +
                          " options, got " + std::to_string(spec.options.size()));
  std::copy(spec.options.begin(), spec.options.end(), options_);
}

std::string RuleGroup::name() const { return full_name(rule_->facts); }

RuleGroup RuleGroup::with_options(const RuleSpec& spec) const {
  RuleGroup changed(spec);
  if (changed.rule_ != rule_) throw py::value_error("a group must keep its kernel");
  changed.in_float32_ = in_float32_;
  return changed;
}

void RuleGroup::set_coefficients(double lr, Index t, Coefficients& c) const {
  c.maximize = maximize_;
  c.l2 = decoupled_ ? 0 : weight_decay_;
  c.decay = decoupled_ ? 1 - lr * weight_decay_ : 1;
  rule_->coefficients(options_, double(t), lr, c.rule);
  check_representable(lr, c);
}

// The error names an option that is not representable itself; else the learning rate; else all of
// them, since only their combination overflows or underflows.
void RuleGroup::check_representable(double lr, const Coefficients& c) const {
  if (in_float32_ ? all_representable<float>(c) : all_representable<double>(c)) return;
  const auto representable = in_float32_ ? is_representable<float> : is_representable<double>;
  const auto number = [](double x) { return std::string(py::repr(py::float_(x))); };
  const auto check = [&](const char* name, double x) {
    if (x != x || representable(x)) return;  // NaN stands for an option that is None
    throw py::value_error(
        std::string(name) + " must be 0 or in " +
        (in_float32_ ? "[1.4e-45, 3.4e+38] in float32" : "[4.9e-324, 1.8e+308] in float64") +
        ", got " + number(x));
  };
  check("weight_decay", weight_decay_);
  for (int k = 0; k < rule_->n_options; ++k) check(rule_->facts.options[k].name, options_[k]);
  check("lr", lr);
  throw py::value_error(std::string("lr and the options must give factors that are finite in ") +
                        (in_float32_ ? "float32" : "float64") + ", got lr = " + number(lr) +
                        " and weight_decay = " + number(weight_decay_));
}

}  // namespace fastoptim
