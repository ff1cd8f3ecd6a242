#include "roofline.hpp"

#include "dispatch.hpp"
#include "parallel.hpp"

namespace fastoptim {

void run_roofline(Storage storage, char* const* arrays, int n_states, Index n, Index passes,
                  bool serial) {
  const RooflineLoop loop = kernels().roofline[int(storage)][n_states];
  for (; passes > 0; --passes)
    parallel_for(n, serial, [&](Index begin, Index end) { loop(arrays, begin, end); });
}

}  // namespace fastoptim
