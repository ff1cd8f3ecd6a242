#include "shuffler.hpp"

#include <pybind11/stl.h>

#include <mutex>
#include <optional>

#include "../batch_loader.hpp"
#include "../cursor.hpp"
#include "../parallel.hpp"
#include "arrays.hpp"
#include "gil.hpp"

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
  const ReleaseGil released;
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
  const ReleaseGil released;
  parallel_for(count, count < serial_below,
               [&](Index begin, Index end) { f(x + begin, end - begin); });
}

// MiniBatches: the arrays, where it is in them, and what makes the batches.
//
// A batch and its place are taken together, under a lock: threads may share the object, and what
// throws leaves the place as it was.
class Batches {
 public:
  Batches(const std::vector<py::array>& arrays, int axis, const BatchOptions& batches, bool shuffle,
          Index prefetch, std::uint64_t block_rows, std::uint64_t window_blocks, bool read_ahead)
      : axis_(axis), prefetch_(prefetch), cursor_(batches) {
    std::vector<Rows> all, mapped;
    for (const py::array& array : arrays) {
      all.push_back(rows_of(array, axis));
      arrays_.push_back({array, array.dtype(), all.back(),
                         {array.shape(), array.shape() + array.ndim()}});
      if (read_ahead && all.back().sequential()) mapped.push_back(all.back());
    }
    if (shuffle)
      loader_.emplace(std::move(all), std::move(mapped),
                      OrderOptions{std::uint64_t(batches.n), block_rows, window_blocks},
                      cursor_.longest(), int(prefetch));
  }

  // The next batch of that epoch, or None if it has none left.
  py::object next(std::uint64_t epoch) {
    const auto lock = locked();
    if (cursor_.epoch() != epoch) return py::none();
    py::object batch = cursor_.has() ? take() : py::none();
    cursor_.advance();
    return batch;
  }

  void seek(const Seed& seed, std::uint64_t epoch, Index position) {
    const auto lock = locked();
    seed_ = seed;
    cursor_.seek(epoch, position);
  }

  std::pair<std::uint64_t, Index> place() {
    const auto lock = locked();
    return {cursor_.epoch(), cursor_.position()};
  }

 private:
  struct Source {
    py::array array;
    py::dtype dtype;
    Rows rows;
    std::vector<Index> shape;
  };

  // Whoever holds it may wait for the GIL, so nobody who has the GIL waits for it.
  std::unique_lock<std::mutex> locked() {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock) {
      const ReleaseGil released;
      lock.lock();
    }
    return lock;
  }

  // An array, or a tuple of them if there are more.
  py::object take() {
    const Samples samples = cursor_.samples();
    Batch buffers;
    if (loader_) {
      const ReleaseGil released;
      buffers = loader_->take(request(samples));
      for (Index ahead = 1; ahead <= prefetch_ && cursor_.has(ahead); ++ahead)
        loader_->prefetch(request(cursor_.samples(ahead)));
    }
    const auto part = [&](std::size_t k) {
      if (!loader_) return view(arrays_[k].array, samples);
      arrays_[k].shape[std::size_t(axis_)] = samples.count;
      return array_over(std::move(buffers[k]), arrays_[k], samples.count);
    };
    if (arrays_.size() == 1) return part(0);
    py::tuple result(arrays_.size());
    for (std::size_t k = 0; k < arrays_.size(); ++k)
      PyTuple_SET_ITEM(result.ptr(), Py_ssize_t(k), part(k).release().ptr());
    return std::move(result);
  }

  Request request(const Samples& samples) const {
    return {seed_, cursor_.epoch(), samples.first, samples.count};
  }

  py::object view(const py::array& array, const Samples& samples) const {
    py::tuple key(axis_ + 1);
    for (int k = 0; k < axis_; ++k) key[std::size_t(k)] = py::slice(py::none(), py::none(), py::none());
    const auto first = Index(samples.first);
    key[std::size_t(axis_)] = py::slice(first, first + samples.count, 1);
    return array[key];
  }

  // By NumPy's own functions: 0.2 us an array, where pybind11's constructors took 1.3.
  static py::object array_over(Buffer buffer, const Source& source, Index count) {
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
    return array;
  }

  const int axis_;
  const Index prefetch_;
  std::vector<Source> arrays_;
  std::mutex mutex_;  // guards the rest
  Cursor cursor_;
  Seed seed_;
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
             order.positions_of(nullptr, 0);  // makes its table: a job must not, as it may throw
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

  py::class_<Batches>(m, "Batches")
      .def(py::init([](const std::vector<py::array>& arrays, int axis, Index batch_size,
                       bool drop_last, Index rank, Index world, bool shuffle, Index prefetch,
                       std::uint64_t block_rows, std::uint64_t window_blocks, bool read_ahead) {
             const BatchOptions batches{arrays.at(0).shape(axis), batch_size, drop_last, rank,
                                        world};
             return std::make_unique<Batches>(arrays, axis, batches, shuffle, prefetch, block_rows,
                                              window_blocks, read_ahead);
           }),
           py::kw_only(), py::arg("arrays"), py::arg("axis"), py::arg("batch_size"),
           py::arg("drop_last"), py::arg("rank"), py::arg("world"), py::arg("shuffle"),
           py::arg("prefetch"), py::arg("block_rows"), py::arg("window_blocks"),
           py::arg("read_ahead"))
      .def("next", &Batches::next, py::arg("epoch"))
      .def("seek", &Batches::seek, py::arg("seed"), py::arg("epoch"), py::arg("position"))
      .def("place", &Batches::place);

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
        const ReleaseGil released;
        shuffle(all, order);
      },
      py::arg("arrays"), py::arg("axis"), py::arg("order"));
}

}  // namespace fastoptim
