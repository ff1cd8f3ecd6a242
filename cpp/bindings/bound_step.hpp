// `_core.Step`: parameters with their gradients and states, checked once and then stepped.
#pragma once

#include <atomic>
#include <vector>

#include "../core/step.hpp"
#include "bound_tensor.hpp"
#include "rule_group.hpp"

namespace fastoptim {

class BoundStep {
 public:
  // rules, tensors: sequences of what _core.Rule and _core.Tensor return. t: the number of steps
  // taken before, by the step and by each tensor.
  BoundStep(const py::sequence& rules, const py::sequence& tensors, Index t,
            bool uint16_is_bfloat16);
  BoundStep(const BoundStep&) = delete;

  // Takes a step. lr: a float for all groups, or a sequence with one for each. grads: a sequence
  // in the tensors' order, or None for the bound ones. t: the number of steps taken when lr was
  // evaluated, or None if lr does not depend on it. Checks everything before the first byte
  // changes. RuntimeError if another thread is taking a step, or has taken one since t; also in a
  // forked child if another thread was taking one at the fork, until commit() loads a state.
  void take_step(py::handle lr, py::handle grads, py::handle t);

  // How results in a storage of fewer bytes are rounded. To nearest until this is called.
  void set_rounding(bool stochastic, std::uint64_t seed);

  // Zeroes the states, which must come from empty_state.
  void zero_states() { work_.zero_states(); }

  // Returns the number of steps taken, that of each tensor, each tensor's index, and copies of
  // the arrays, all from between the same two steps.
  py::tuple snapshot(const py::sequence& arrays);

  // Applies a change that a step must see whole or not at all. Sets the rule of each group, whose
  // kernel must stay, and the rounding. progress: None, or (steps taken, those of each tensor, each
  // tensor's index). copies: pairs (destination, source) of arrays of one shape and dtype, where
  // the destinations are arrays of this step; a source that shares memory with an array that the
  // step writes is copied first. stores: triples (object, attribute, value), for what Python keeps
  // of the same facts. It is one call because a signal handler can run between any two bytecodes:
  // so the handler finds all of the change, or none.
  void commit(const py::sequence& rules, bool stochastic, std::uint64_t seed,
              const py::object& progress, const py::sequence& copies, const py::sequence& stores);

  // Keeps the checks and the layout of a call of the functional layer, which this step was made for,
  // for a later call with the same arrays and options (recent_steps.hpp). arrays, options: as
  // _core.repeat_step takes them. Does nothing for arrays and options of foreign types.
  void remember(int function, const py::tuple& arrays, const py::tuple& options) const;

  // Calls f(PyObject*) for every array that is kept between steps, until it returns other than 0.
  template <class F>
  int visit(const F& f) const {
    for (const BoundTensor& tensor : tensors_)
      if (const int stop = tensor.visit(f)) return stop;
    return 0;
  }

  Index t() const { return t_; }  // the number of steps taken
  bool is_of_torch() const { return work_.origin() == Origin::torch; }
  bool looked_for_subnormals() const { return work_.looked_for_subnormals(); }

 private:
  class BusyGuard;

  // Tensors of one group with the same number of steps, which share coefficients.
  struct Cohort {
    std::size_t group;
    Index count;  // steps taken
  };
  struct Cohorts {
    std::vector<Cohort> all;
    std::vector<int> of_tensor;
  };
  struct Progress {
    Index t;
    Cohorts cohorts;
    std::vector<std::uint64_t> indices;
  };
  struct Copy {
    py::array to, from;
  };

  // Of the constructor.
  void bind_tensors(const py::sequence& specs, bool uint16_is_bfloat16);
  void check_no_shared_memory();
  void lay_out_tensors();
  void find_origin();

  Cohorts make_cohorts(const std::vector<Index>& counts) const;
  void set_cohorts(Cohorts&& cohorts) noexcept;  // coefficients_ must have the capacity

  // Of take_step().
  void collect_gradients(py::handle grads);
  void compute_coefficients(py::handle lr);
  void check_arrays(bool gradients_given);
  void set_gradients(bool given);
  void run_kernels();

  // Of commit().
  std::vector<RuleGroup> changed_groups(const py::sequence& rules) const;
  Progress read_progress(const py::object& progress);
  std::vector<Copy> read_copies(const py::sequence& copies) const;

  std::vector<RuleGroup> groups_;
  std::vector<Cohort> cohorts_;
  std::vector<Coefficients> coefficients_;  // of each cohort
  std::vector<BoundTensor> tensors_;
  WorkList work_;
  WriteSet written_;
  std::vector<StepGradient> step_gradients_;  // given to the step under way; empty between steps
  bool any_gradient_given_ = false;           // to a step so far
  bool bound_gradients_set_ = true;           // whether work_ refers to the bound gradients
  bool stochastic_ = false;
  std::uint64_t seed_ = 0;
  std::atomic<Index> t_;
  std::atomic<unsigned> busy_{0};  // 0, or 1 + forks() of the thread that uses this object
  // Whether parameters or states are being written without the GIL. If it is set in a forked child
  // that does not write, the fork interrupted the writing and the state is inconsistent.
  bool writing_ = false;
};

}  // namespace fastoptim
