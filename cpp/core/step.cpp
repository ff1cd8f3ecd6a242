#include "step.hpp"

#include <algorithm>
#include <cstring>

#include "subnormal_detector.hpp"

namespace fastoptim {

void WorkList::add(const Work& work) {
  works_.push_back(work);
  first_block_.push_back(first_block_.back() + (work.tensor.size + block - 1) / block);
  n_elements_ += work.tensor.size;
}

template <class F>
void WorkList::for_elements(Index begin, Index end, const F& f) const noexcept {
  auto k =
      std::upper_bound(first_block_.begin(), first_block_.end(), begin) - first_block_.begin() - 1;
  for (; begin < end; begin = first_block_[++k]) {
    const Index stop = std::min(end, first_block_[k + 1]) - first_block_[k];
    f(works_[k], (begin - first_block_[k]) * block, std::min(stop * block, works_[k].tensor.size));
  }
}

void WorkList::run_step(const Coefficients* coefficients) noexcept {
  looked_for_subnormals_ = coefficients[0].subnormals;
  met_subnormals_.store(false, std::memory_order_relaxed);
  const bool serial = runs_on_openmp(origin_) ? n_elements_ < share_on_openmp_from_elements
                                              : wake_policy_.runs_serially(n_elements_);
  const auto update = [&](Index first, Index last) {
    const SubnormalDetector detector(met_subnormals_);
    for_elements(first, last, [&](const Work& work, Index begin, Index end) {
      work.sweep(work.tensor, coefficients[work.coefficients], begin, end);
    });
  };
  parallel_for(first_block_.back(), serial, update, 1, origin_);
  wake_policy_.job_ended(n_elements_);
}

void WorkList::zero_states() const noexcept {
  const auto zero = [&](Index first, Index last) {
    for_elements(first, last, [](const Work& work, Index begin, Index end) {
      for (int k = 0; k < work.n_states; ++k) {
        const Operand& state = work.tensor.operands[2 + k];
        const Index item_size = item_sizes[int(state.storage)];
        std::memset(state.data + begin * item_size, 0, (end - begin) * item_size);
      }
    });
  };
  parallel_for(first_block_.back(), n_elements_ < serial_below_elements, zero, 1, origin_);
}

}  // namespace fastoptim
