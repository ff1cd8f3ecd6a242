#include "bound_step.hpp"

#include <pybind11/stl.h>

#include <map>
#include <tuple>

#include "../core/fork.hpp"
#include "gil.hpp"
#include "origin.hpp"
#include "recent_steps.hpp"

namespace fastoptim {
namespace {

[[noreturn]] void refuse_another_thread() {
  throw std::runtime_error(
      "an optimizer must be used by one thread at a time, got another step meanwhile");
}

py::object copy_of(py::handle array) {
  constexpr int keep_order = 2;  // NPY_KEEPORDER
  const auto make = py::detail::npy_api::get().PyArray_NewCopy_;
  PyObject* const copy = without_unwinding([&] { return make(array.ptr(), keep_order); });
  if (!copy) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(copy);
}

}  // namespace

// RAII: marks the step as busy. Throws if another thread has done so; waiting instead would hide
// the user's mistake. A thread that was busy at a fork does not exist in the child, so its mark
// does not count there; but if it was writing, the child's state is inconsistent, which only an
// operation that `repairs` it may ignore.
class BoundStep::BusyGuard {
 public:
  explicit BusyGuard(BoundStep& step, bool repairs = false) : busy_(step.busy_) {
    const unsigned own = forks() + 1;
    unsigned holder = 0;
    while (!busy_.compare_exchange_strong(holder, own))
      if (holder == own) refuse_another_thread();
    if (step.writing_ && !repairs) {
      busy_ = 0;
      throw std::runtime_error(
          "an optimizer must be whole, got one whose step or load was cut off halfway (by a fork "
          "while another thread was in it): write saved values into its parameters and call "
          "load_state_dict, or make a new optimizer");
    }
  }
  ~BusyGuard() { busy_ = 0; }
  BusyGuard(const BusyGuard&) = delete;

 private:
  std::atomic<unsigned>& busy_;
};

BoundStep::BoundStep(const py::sequence& rules, const py::sequence& tensors, Index t,
                     bool uint16_is_bfloat16)
    : t_(t) {
  for (py::handle rule : rules) groups_.emplace_back(RuleSpec(rule));
  bind_tensors(tensors, uint16_is_bfloat16);
  check_no_shared_memory();
  lay_out_tensors();
  find_origin();
  Cohorts cohorts = make_cohorts(std::vector<Index>(tensors_.size(), t));
  coefficients_.reserve(cohorts.all.size());
  set_cohorts(std::move(cohorts));
}

void BoundStep::bind_tensors(const py::sequence& specs, bool uint16_is_bfloat16) {
  tensors_.reserve(specs.size());
  for (py::handle packed : specs) {
    TensorSpec spec(packed);
    RuleGroup& group = groups_.at(spec.group);
    tensors_.emplace_back(std::move(spec), group, uint16_is_bfloat16);
    if (!tensors_.back().computes_in_float64()) group.set_in_float32();
  }
}

void BoundStep::check_no_shared_memory() {
  std::vector<Region> regions;
  for (const BoundTensor& tensor : tensors_) tensor.add_written(regions);
  written_ = WriteSet(std::move(regions));
  for (const BoundTensor& tensor : tensors_)
    if (tensor.has_bound_gradient()) written_.check_disjoint(tensor.gradient().region());
}

void BoundStep::lay_out_tensors() {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    BoundTensor& tensor = tensors_[i];
    const RuleKernels& rule = groups_[tensor.group()].rule();
    Work work{{}, rule.sweep[tensor.computes_in_float64()], 0, rule.n_states};
    work.tensor.index = i;
    tensor.set_bound_gradient(work.tensor);
    work_.add(work);
  }
}

// One array of torch is enough: then torch computes the gradients, and its threads are running.
void BoundStep::find_origin() {
  for (const BoundTensor& tensor : tensors_)
    if (origin_of(tensor.parameter().array()) == Origin::torch ||
        origin_of(tensor.gradient().array()) == Origin::torch)
      return work_.set_origin(Origin::torch);
}

BoundStep::Cohorts BoundStep::make_cohorts(const std::vector<Index>& counts) const {
  Cohorts cohorts;
  std::map<std::pair<std::size_t, Index>, int> known;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const Cohort cohort{tensors_[i].group(), counts[i]};
    if (i > 0 && tensors_[i - 1].group() == cohort.group && counts[i - 1] == cohort.count) {
      cohorts.of_tensor.push_back(cohorts.of_tensor.back());  // as nearly always
      continue;
    }
    const auto [entry, is_new] =
        known.emplace(std::pair(cohort.group, cohort.count), int(cohorts.all.size()));
    if (is_new) cohorts.all.push_back(cohort);
    cohorts.of_tensor.push_back(entry->second);
  }
  return cohorts;
}

void BoundStep::set_cohorts(Cohorts&& cohorts) noexcept {
  cohorts_ = std::move(cohorts.all);
  coefficients_.assign(cohorts_.size(), Coefficients{});
  for (std::size_t i = 0; i < tensors_.size(); ++i) work_[i].coefficients = cohorts.of_tensor[i];
}

void BoundStep::set_rounding(bool stochastic, std::uint64_t seed) {
  const BusyGuard guard(*this);
  stochastic_ = stochastic;
  seed_ = seed;
}

void BoundStep::take_step(py::handle lr, py::handle grads, py::handle t) {
  const BusyGuard guard(*this);
  const bool given = !grads.is_none();

  // Dropped at the end, so that the optimizer keeps no gradient alive.
  struct ClearAtEnd {
    std::vector<StepGradient>& list;
    ~ClearAtEnd() { list.clear(); }
  } const clear_at_end{step_gradients_};
  step_gradients_.clear();  // a step that a fork interrupted may have left some
  if (given) collect_gradients(grads);

  if (!t.is_none() && t.cast<Index>() != t_) refuse_another_thread();
  compute_coefficients(lr);
  check_arrays(given);
  // From here on only std::bad_alloc can be thrown, and only before the kernels run.
  set_gradients(given);
  run_kernels();
}

void BoundStep::collect_gradients(py::handle grads) {
  const auto list = py::reinterpret_borrow<py::sequence>(grads);
  if (list.size() != tensors_.size())
    throw py::value_error("grads must hold " + std::to_string(tensors_.size()) + " arrays, got " +
                          std::to_string(list.size()));
  // All are converted before any is checked, because a __dlpack__ is foreign code, which must not
  // run between a check and the use.
  for (std::size_t i = 0; i < tensors_.size(); ++i)
    step_gradients_.push_back({as_array(list[i], tensors_[i].gradient().label()), {}, false});
  // That code may have forked, and the child taken another step, which cleared the list.
  if (step_gradients_.size() != tensors_.size()) refuse_another_thread();
  // NumPy's parameters may be torch's too (torch.from_numpy): its gradients tell.
  if (any_gradient_given_) return;
  any_gradient_given_ = true;
  if (!is_of_torch()) work_.set_origin(origin_of(step_gradients_.front().array));
}

// Writes coefficients_, which only this step reads: a step that is refused may leave them behind.
void BoundStep::compute_coefficients(py::handle lr) {
  const bool shared = PyFloat_Check(lr.ptr());
  if (!shared && py::len(lr) != groups_.size())
    throw py::value_error("lr must be one number, or one a group");
  for (std::size_t k = 0; k < cohorts_.size(); ++k) {
    const Index t = cohorts_[k].count + 1;
    const double rate = shared ? PyFloat_AS_DOUBLE(lr.ptr())
                               : lr.cast<py::sequence>()[cohorts_[k].group].cast<double>();
    Coefficients& c = coefficients_[k];
    c.stochastic = stochastic_;
    c.seed = seed_;
    c.step = std::uint64_t(t);
    c.subnormals = work_.expects_subnormals();
    c.cached = work_.n_elements() < cached_below_elements;
    groups_[cohorts_[k].group].set_coefficients(rate, t, c);
  }
}

void BoundStep::check_arrays(bool gradients_given) {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const BoundTensor& tensor = tensors_[i];
    tensor.check_written();
    if (gradients_given)
      tensor.check_gradient(step_gradients_[i], written_);
    else if (tensor.has_bound_gradient())
      tensor.gradient().check_unchanged();
    else
      throw py::value_error(tensor.gradient().label() +
                            " must be given: no gradient is bound, call step(grads)");
  }
}

void BoundStep::set_gradients(bool given) {
  if (!given && bound_gradients_set_) return;
  bound_gradients_set_ = false;  // until all are set, in case memory runs out halfway
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (given)
      tensors_[i].set_gradient(step_gradients_[i], work_[i].tensor);
    else
      tensors_[i].set_bound_gradient(work_[i].tensor);
  }
  bound_gradients_set_ = !given;
}

// Counts the step too: Python could be interrupted between the step and its count.
void BoundStep::run_kernels() {
  if (work_.n_elements() < keep_gil_below_elements) {
    work_.run_step(coefficients_.data());
  } else {
    writing_ = true;  // set and reset with the GIL held, so that Python cannot fork in between
    {
      const ReleaseGil released;
      work_.run_step(coefficients_.data());
    }
    writing_ = false;
  }
  for (Cohort& cohort : cohorts_) ++cohort.count;
  ++t_;
}

py::tuple BoundStep::snapshot(const py::sequence& arrays) {
  const BusyGuard guard(*this);
  py::list counts, indices, copies;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    counts.append(cohorts_[std::size_t(work_[i].coefficients)].count);
    indices.append(work_[i].tensor.index);
  }
  for (py::handle x : arrays) copies.append(copy_of(x));
  return py::make_tuple(Index(t_), counts, indices, copies);
}

void BoundStep::remember(int function, const py::tuple& arrays, const py::tuple& options) const {
  std::vector<PyObject*> objects;
  for (py::handle x : arrays) {
    if (!is_plain_array(x) && !x.is_none()) return;
    objects.push_back(x.ptr());
  }
  OptionValues values;
  for (py::handle option : options)
    if (!values.add(option.ptr())) return;
  const FunctionCall call{function, objects.data(), int(objects.size())};
  RecentSteps::of_this_thread().keep(
      call, std::make_unique<RecentStep>(call, values, groups_.at(0), work_[0],
                                         tensors_.at(0).layout(), work_.origin()));
}

std::vector<RuleGroup> BoundStep::changed_groups(const py::sequence& rules) const {
  if (rules.size() != groups_.size()) throw py::value_error("rules must hold one a group");
  std::vector<RuleGroup> groups;
  for (std::size_t k = 0; k < rules.size(); ++k)
    groups.push_back(groups_[k].with_options(RuleSpec(rules[k])));
  return groups;
}

BoundStep::Progress BoundStep::read_progress(const py::object& progress) {
  auto [t, counts, indices] =
      progress.cast<std::tuple<Index, std::vector<Index>, std::vector<std::uint64_t>>>();
  if (counts.size() != tensors_.size() || indices.size() != tensors_.size())
    throw py::value_error("progress must hold one count and one index a tensor");
  Progress result{t, make_cohorts(counts), std::move(indices)};
  coefficients_.reserve(result.cohorts.all.size());
  return result;
}

std::vector<BoundStep::Copy> BoundStep::read_copies(const py::sequence& copies) const {
  static const std::string label = "a source";
  std::vector<Copy> result;
  for (py::handle pair : copies) {
    auto [to, from] = pair.cast<std::pair<py::array, py::array>>();
    if (data_of(to) == data_of(from) && ArraySignature(to).matches(from)) continue;
    if (written_.find_overlap(region_of(from, label))) from = copy_of(from);
    result.push_back({std::move(to), std::move(from)});
  }
  return result;
}

void BoundStep::commit(const py::sequence& rules, bool stochastic, std::uint64_t seed,
                       const py::object& progress, const py::sequence& copies,
                       const py::sequence& stores) {
  py::list replaced;  // destroyed last: a finalizer may use the optimizer
  const BusyGuard guard(*this, !progress.is_none());

  std::vector<RuleGroup> groups = changed_groups(rules);
  Progress loaded{};
  if (!progress.is_none()) loaded = read_progress(progress);
  const std::vector<Copy> all_copies = read_copies(copies);
  std::vector<std::tuple<py::object, py::object, py::object>> attributes;
  for (py::handle store : stores) {
    attributes.push_back(store.cast<std::tuple<py::object, py::object, py::object>>());
    const auto& [object, name, value] = attributes.back();
    replaced.append(object.attr(name));
  }

  // From here on everything is C, which no signal handler interrupts, and only a lack of memory
  // can fail. NumPy's C function is called because numpy.copyto dispatches to Python code first.
  const auto copy_into = py::detail::npy_api::get().PyArray_CopyInto_;
  if (!all_copies.empty()) writing_ = true;  // if a copy fails, it stays set until a load succeeds
  for (const Copy& copy : all_copies) {
    PyObject *const to = copy.to.ptr(), *const from = copy.from.ptr();
    if (without_unwinding([=] { return copy_into(to, from); }) < 0) throw py::error_already_set();
  }
  if (!progress.is_none()) writing_ = false;
  for (const auto& [object, name, value] : attributes)
    if (PyObject_GenericSetAttr(object.ptr(), name.ptr(), value.ptr()) < 0)
      throw py::error_already_set();
  groups_ = std::move(groups);
  stochastic_ = stochastic;
  seed_ = seed;
  if (progress.is_none()) return;
  t_ = loaded.t;
  set_cohorts(std::move(loaded.cohorts));
  for (std::size_t i = 0; i < tensors_.size(); ++i) work_[i].tensor.index = loaded.indices[i];
}

}  // namespace fastoptim
