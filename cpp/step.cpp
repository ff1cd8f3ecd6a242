#include "step.hpp"

#include <algorithm>
#include <cstring>

#include "parallel.hpp"

namespace fastoptim {

void WorkList::add(const Work& work) {
  works_.push_back(work);
  first_block_.push_back(first_block_.back() + (work.tensor.size + block - 1) / block);
  n_elements_ += work.tensor.size;
}

template <class F>
void WorkList::for_blocks(bool serial, const F& f) const noexcept {
  const auto share = [&](Index begin, Index end) {
    auto k = std::upper_bound(first_block_.begin(), first_block_.end(), begin) -
             first_block_.begin() - 1;
    for (; begin < end; begin = first_block_[++k]) {
      const Index stop = std::min(end, first_block_[k + 1]) - first_block_[k];
      f(works_[k], (begin - first_block_[k]) * block,
        std::min(stop * block, works_[k].tensor.size));
    }
  };
  parallel_for(first_block_.back(), serial, share);
}

void WorkList::run(const Coefficients* groups) noexcept {
  using Clock = std::chrono::steady_clock;
  const bool small = n_elements_ < serial_below;
  const bool medium = !small && n_elements_ < serial_if_asleep_below;
  const bool asleep = medium && Clock::now() - last_run_ > awake_for;
  for_blocks(small || asleep, [&](const Work& work, Index begin, Index end) {
    work.sweep(work.tensor, groups[work.group], begin, end);
  });
  if (medium) last_run_ = Clock::now();
}

void WorkList::zero_states() const noexcept {
  for_blocks(n_elements_ < serial_below, [](const Work& work, Index begin, Index end) {
    for (int k = 0; k < work.n_states; ++k) {
      const Operand& state = work.tensor.operands[2 + k];
      const Index item_size = item_sizes[int(state.storage)];
      std::memset(state.data + begin * item_size, 0, (end - begin) * item_size);
    }
  });
}

}  // namespace fastoptim
