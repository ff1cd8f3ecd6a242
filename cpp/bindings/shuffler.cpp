#include "shuffler.hpp"

#include <pybind11/stl.h>

#include <optional>

#include "../batch_loader.hpp"
#include "../parallel.hpp"
#include "arrays.hpp"

namespace fastoptim {
namespace {

using Positions = py::array_t<std::int64_t, py::array::c_style>;

// Indices that one thread computes faster than two.
constexpr Index serial_below = 1 << 14;

Rows rows_of(const py::array& array, int axis) {
  return Rows(data_of(array), shape_of(array), strides_of(array), axis);
}

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

// The arrays, and the loader that reads them.
class ArrayLoader {
 public:
  ArrayLoader(const std::vector<py::array>& arrays, int axis, bool read_ahead,
              const OrderOptions& options, Index max_count, int prefetch)
      : axis_(axis) {
    std::vector<Rows> all, mapped;
    for (const py::array& array : arrays) {
      all.push_back(rows_of(array, axis));
      arrays_.push_back({array, array.dtype(), all.back(),
                         {array.shape(), array.shape() + array.ndim()}});
      if (read_ahead && all.back().sequential()) mapped.push_back(all.back());
    }
    loader_.emplace(std::move(all), std::move(mapped), options, max_count, prefetch);
  }

  py::tuple take(const Request& request) {
    std::optional<Batch> batch;
    {
      py::gil_scoped_release release;
      batch = loader_->take(request);
    }
    py::tuple result(arrays_.size());
    for (std::size_t k = 0; k < arrays_.size(); ++k) {
      arrays_[k].shape[std::size_t(axis_)] = request.count;
      PyTuple_SET_ITEM(result.ptr(), Py_ssize_t(k),
                       array_over(std::move((*batch)[k]), arrays_[k], request.count));
    }
    return result;
  }

  void prefetch(const Request& request) { loader_->prefetch(request); }

 private:
  struct Source {
    py::array array;  // kept alive
    py::dtype dtype;
    Rows rows;
    std::vector<Index> shape;
  };

  // By NumPy's own functions: 0.2 us an array, where pybind11's constructors took 1.3.
  static PyObject* array_over(Buffer buffer, const Source& source, Index count) {
    static const auto& numpy = py::detail::npy_api::get();
    Index strides[max_axes];
    source.rows.batch_strides(count, strides);
    char* data = buffer.data();
    // The buffer belongs to the array: it returns to its pool when the last view of it goes.
    auto owned = std::make_unique<Buffer>(std::move(buffer));
    py::object owner = py::reinterpret_steal<py::object>(
        PyCapsule_New(owned.get(), nullptr, [](PyObject* capsule) {
          delete static_cast<Buffer*>(PyCapsule_GetPointer(capsule, nullptr));
        }));
    if (!owner) throw py::error_already_set();
    (void)owned.release();
    py::object array = py::reinterpret_steal<py::object>(numpy.PyArray_NewFromDescr_(
        numpy.PyArray_Type_, source.dtype.inc_ref().ptr(), int(source.shape.size()),
        source.shape.data(), strides, data, py::detail::npy_api::NPY_ARRAY_WRITEABLE_, nullptr));
    if (!array || numpy.PyArray_SetBaseObject_(array.ptr(), owner.release().ptr()) != 0)
      throw py::error_already_set();
    return array.release().ptr();
  }

  int axis_;
  std::vector<Source> arrays_;
  std::optional<BatchLoader> loader_;
};

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

  py::class_<ArrayLoader>(m, "BatchLoader")
      .def(py::init([](const std::vector<py::array>& arrays, int axis, bool read_ahead,
                       std::uint64_t block_rows, std::uint64_t window_blocks, Index max_count,
                       int prefetch) {
             const auto n = std::uint64_t(arrays.at(0).shape(axis));
             return std::make_unique<ArrayLoader>(arrays, axis, read_ahead,
                                                  OrderOptions{n, block_rows, window_blocks},
                                                  max_count, prefetch);
           }),
           py::kw_only(), py::arg("arrays"), py::arg("axis"), py::arg("read_ahead"),
           py::arg("block_rows"), py::arg("window_blocks"), py::arg("max_count"),
           py::arg("prefetch"))
      .def("take",
           [](ArrayLoader& loader, const Seed& seed, std::uint64_t epoch, std::uint64_t first,
              Index count) { return loader.take({seed, epoch, first, count}); })
      .def("prefetch", [](ArrayLoader& loader, const Seed& seed, std::uint64_t epoch,
                          std::uint64_t first, Index count) {
        loader.prefetch({seed, epoch, first, count});
      });

  m.def(
      "shuffle",
      [](const std::vector<py::array>& arrays, int axis, const Permutation& order) {
        std::vector<Rows> all;
        std::vector<std::string> labels;
        for (std::size_t k = 0; k < arrays.size(); ++k) labels.push_back("array " + std::to_string(k));
        std::vector<Region> regions;
        for (std::size_t k = 0; k < arrays.size(); ++k) {
          check_updatable(arrays[k], labels[k]);
          regions.push_back(region_of(arrays[k], labels[k]));
          all.push_back(rows_of(arrays[k], axis));
        }
        const Written apart(std::move(regions));
        py::gil_scoped_release release;
        shuffle(all, order);
      },
      py::arg("arrays"), py::arg("axis"), py::arg("order"));
}

}  // namespace fastoptim
