// `_core.Seed`, `_core.Permutation` and `_core.shuffle`.
#include "../shuffle/permutation.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>

#include "../core/parallel.hpp"
#include "gil.hpp"
#include "module.hpp"
#include "samples.hpp"
#include "write_set.hpp"

namespace fastoptim {
namespace {

using Indices = py::array_t<std::int64_t, py::array::c_style>;

// Below this many indices one thread is faster than two.
constexpr Index serial_below_indices = 1 << 14;

Indices rows(const Permutation& order, std::uint64_t first, Index count) {
  if (count < 0 || first > order.size() || std::uint64_t(count) > order.size() - first)
    throw py::index_error("positions must be in the order");
  Indices result(count);
  auto* out = reinterpret_cast<std::uint64_t*>(data_of(result));
  const ReleaseGil released;
  parallel_for(count, count < serial_below_indices, [&](Index begin, Index end) {
    order.rows(first + std::uint64_t(begin), end - begin, out + begin);
  });
  return result;
}

// Replaces indices in place: calls f(x, count) on ranges of the array whose indices all lie in
// [low, n), where low is 0 or -n, and negative indices have been counted from the end. IndexError
// names the first index that does not lie there. No other code may hold the array, which could
// change an index between its check and its use.
template <class F>
Indices replace(Indices indices, Index low, const Permutation& order, const char* name,
                const F& f) {
  auto* x = reinterpret_cast<std::uint64_t*>(data_of(indices));
  const Index count = Index(indices.size()), n = Index(order.size());
  std::atomic<Index> first_outside{count};
  {
    const ReleaseGil released;
    parallel_for(count, count < serial_below_indices, [&](Index begin, Index end) {
      bool inside = true;
      for (Index i = begin; i < end; ++i) inside &= low <= Index(x[i]) && Index(x[i]) < n;
      if (inside) {
        for (Index i = begin; i < end; ++i) x[i] += Index(x[i]) < 0 ? order.size() : 0;
        f(x + begin, end - begin);
        return;
      }
      Index first = begin;
      while (low <= Index(x[first]) && Index(x[first]) < n) ++first;
      Index known = first_outside;
      while (first < known && !first_outside.compare_exchange_weak(known, first)) {
      }
    });
  }
  if (first_outside < count)
    throw py::index_error(std::string(name) + " must be in [" + std::to_string(low) + ", " +
                          std::to_string(n) + "), got " + std::to_string(Index(x[first_outside])));
  return indices;
}

void shuffle_arrays(const std::vector<py::array>& arrays, const std::vector<std::string>& labels,
                    const std::vector<int>& axes, const Permutation& order) {
  std::vector<Rows> all;
  std::vector<Region> regions;
  ResizeGuard guard;
  for (const py::array& array : arrays) guard.add(array);
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    check_samples(arrays[k], axes.at(k), Index(order.size()), labels.at(k));
    check_updatable(arrays[k], labels[k]);
    regions.push_back(region_of(arrays[k], labels[k]));
    all.push_back(rows_of(arrays[k], axes[k]));
  }
  const WriteSet no_two_share_memory(std::move(regions));
  const ReleaseGil released;
  shuffle(all, order);
}

}  // namespace

void bind_permutation(py::module_& m) {
  py::class_<Seed>(m, "Seed").def(
      py::init([](std::uint64_t low, std::uint64_t high) { return Seed{low, high}; }),
      py::arg("low"), py::arg("high"));

  py::class_<Permutation>(m, "Permutation")
      .def(py::init<std::uint64_t, Seed, std::uint64_t>(), py::arg("n"), py::arg("seed"),
           py::arg("epoch"))
      .def("rows", &rows, py::arg("first"), py::arg("count"))
      .def("rows_at",
           [](const Permutation& order, Indices positions) {
             return replace(std::move(positions), -Index(order.size()), order, "positions",
                            [&](auto* x, Index n) { order.rows_at(x, n); });
           })
      .def("positions_of",
           [](const Permutation& order, Indices rows_of_order) {
             order.positions_of(nullptr, 0);  // makes the inverse table here, because a job must
                                              // not throw std::bad_alloc
             return replace(std::move(rows_of_order), 0, order, "rows",
                            [&](auto* x, Index n) { order.positions_of(x, n); });
           })
      .def("row_at",
           [](const Permutation& order, std::uint64_t position) {
             if (position >= order.size()) throw py::index_error("position must be in the order");
             order.rows_at(&position, 1);
             return position;
           })
      .def("position_of", [](const Permutation& order, std::uint64_t row) {
        if (row >= order.size()) throw py::index_error("row must be in the order");
        order.positions_of(&row, 1);
        return row;
      });
  m.attr("Permutation").attr("max_rows") = Permutation::max_rows;

  m.def("shuffle", &shuffle_arrays, py::arg("arrays"), py::arg("labels"), py::arg("axes"),
        py::arg("order"));
}

}  // namespace fastoptim
