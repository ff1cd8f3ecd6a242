#include "shuffler.hpp"

#include "../parallel.hpp"
#include "../permutation.hpp"
#include "arrays.hpp"

namespace fastoptim {
namespace {

using Positions = py::array_t<std::int64_t, py::array::c_style>;

// Indices that one thread computes faster than two.
constexpr Index serial_below = 1 << 14;

Positions rows(const Permutation& order, std::uint64_t first, Index count) {
  Positions result(count);
  auto* out = reinterpret_cast<std::uint64_t*>(data_of(result));
  py::gil_scoped_release release;
  parallel_for(count, count < serial_below, [&](Index begin, Index end) {
    order.rows(first + std::uint64_t(begin), end - begin, out + begin);
  });
  return result;
}

// In place: f(x, count) on each thread's share.
template <class F>
void replace(Positions& positions, const F& f) {
  auto* x = reinterpret_cast<std::uint64_t*>(data_of(positions));
  const Index count = Index(positions.size());
  py::gil_scoped_release release;
  parallel_for(count, count < serial_below,
               [&](Index begin, Index end) { f(x + begin, end - begin); });
}

}  // namespace

void bind_shuffler(py::module_& m) {
  py::class_<Seed>(m, "Seed")
      .def(py::init([](std::uint64_t low, std::uint64_t high) { return Seed{low, high}; }),
           py::arg("low"), py::arg("high"));

  py::class_<Permutation>(m, "Permutation")
      .def(py::init<std::uint64_t, Seed, std::uint64_t>(), py::arg("n"), py::arg("seed"),
           py::arg("epoch"))
      .def("rows", &rows, py::arg("first"), py::arg("count"))
      .def("rows_at",
           [](const Permutation& order, Positions positions) {
             replace(positions, [&](auto* x, Index n) { order.rows_at(x, n); });
             return positions;
           })
      .def("positions_of",
           [](const Permutation& order, Positions positions) {
             replace(positions, [&](auto* x, Index n) { order.positions_of(x, n); });
             return positions;
           })
      .def("row_at",
           [](const Permutation& order, std::uint64_t position) {
             order.rows_at(&position, 1);
             return position;
           })
      .def("position_of", [](const Permutation& order, std::uint64_t row) {
        order.positions_of(&row, 1);
        return row;
      });
  m.attr("Permutation").attr("max_rows") = Permutation::max_rows;
}

}  // namespace fastoptim
