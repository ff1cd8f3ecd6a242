#include "step.hpp"

#include <algorithm>

#include "parallel.hpp"

namespace fastoptim {

void WorkList::add(const Work& work) {
  works_.push_back(work);
  first_block_.push_back(first_block_.back() + (work.tensor.size + block - 1) / block);
  n_elements_ += work.tensor.size;
}

void WorkList::run(const Coefficients* groups) const noexcept {
  const auto run_blocks = [&](Index begin, Index end) {
    auto k = std::upper_bound(first_block_.begin(), first_block_.end(), begin) -
             first_block_.begin() - 1;
    for (; begin < end; begin = first_block_[++k]) {
      const Work& work = works_[k];
      const Index stop = std::min(end, first_block_[k + 1]) - first_block_[k];
      work.sweep(work.tensor, groups[work.group], (begin - first_block_[k]) * block,
                 std::min(stop * block, work.tensor.size));
    }
  };
  parallel_for(first_block_.back(), n_elements_ < serial_below, run_blocks);
}

}  // namespace fastoptim
