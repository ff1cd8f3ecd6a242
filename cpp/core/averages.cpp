#include "averages.hpp"

#include <algorithm>

#include "dispatch.hpp"
#include "parallel.hpp"
#include "step.hpp"

namespace fastoptim {

void run_ewma(const EwmaArrays& a, Storage storage, double beta, bool bias_correction) {
  if (a.rest.size == 0 || a.n_times == 0) return;
  const Ewma kernel = kernels().ewma[int(storage)];
  const int last = int(a.rest.extents.size()) - 1;
  const Index run = a.rest.extents[last];  // series side by side
  constexpr Index strip = 256;             // of them, for one thread at a time
  const Index strips = (run + strip - 1) / strip;

  parallel_for(a.rest.size / run * strips, a.rest.size * a.n_times < serial_below,
               [&](Index begin, Index end) {
                 for (Index unit = begin; unit < end; ++unit) {
                   const Index first = unit % strips * strip;
                   Index row = unit / strips;
                   Index offset[2];
                   for (int k = 0; k < 2; ++k) offset[k] = first * a.rest.strides[k][last];
                   for (int axis = last - 1; axis >= 0; --axis) {
                     const Index position = row % a.rest.extents[axis];
                     row /= a.rest.extents[axis];
                     for (int k = 0; k < 2; ++k) offset[k] += position * a.rest.strides[k][axis];
                   }
                   kernel({a.x + offset[1], a.out + offset[0], a.x_time_stride,
                           a.rest.strides[1][last], a.out_time_stride, a.rest.strides[0][last],
                           a.n_times, std::min(strip, run - first)},
                          beta, bias_correction);
                 }
               });
}

}  // namespace fastoptim
