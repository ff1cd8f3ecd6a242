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
  const Index row_length = a.rest.extents[last];  // series along the innermost axis
  constexpr Index strip = 256;                    // series that a thread takes at a time
  const Index strips = (row_length + strip - 1) / strip;

  parallel_for(a.rest.size / row_length * strips, a.rest.size * a.n_times < serial_below_elements,
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
                           a.n_times, std::min(strip, row_length - first)},
                          beta, bias_correction);
                 }
               });
}

}  // namespace fastoptim
