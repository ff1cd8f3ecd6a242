#include "shuffler.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>

#include "../core/parallel.hpp"
#include "../shuffle/batch_loader.hpp"
#include "../shuffle/cursor.hpp"
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

// ValueError if x has become another array than the one that was checked, of n samples along that
// axis and without objects: a check of what comes with it may have called code of the caller's.
void check_samples(const py::array& x, int axis, Index n, const std::string& label) {
  constexpr std::uint64_t has_objects = 1;  // NPY_ITEM_REFCOUNT
  if (axis < 0 || axis >= x.ndim() || x.shape(axis) != n || (x.dtype().flags() & has_objects) != 0)
    throw py::value_error(label + " must stay as it is while a call checks it");
}

Positions rows(const Permutation& order, std::uint64_t first, Index count) {
  if (count < 0 || first > order.size() || std::uint64_t(count) > order.size() - first)
    throw py::index_error("positions must be in the order");
  Positions result(count);
  auto* out = reinterpret_cast<std::uint64_t*>(data_of(result));
  const ReleaseGil released;
  parallel_for(count, count < serial_below, [&](Index begin, Index end) {
    order.rows(first + std::uint64_t(begin), end - begin, out + begin);
  });
  return result;
}

// In place: f(x, count) on each thread's share, once all of it is known to lie in [low, n). The
// array must be the caller's alone, so that what was checked is what is used. IndexError names the
// first that does not; low is 0 or -n, and negative positions count from the end.
template <class F>
Positions replace(Positions positions, Index low, const Permutation& order, const char* name,
                  const F& f) {
  auto* x = reinterpret_cast<std::uint64_t*>(data_of(positions));
  const Index count = Index(positions.size()), n = Index(order.size());
  std::atomic<Index> refused{count};
  {
    const ReleaseGil released;
    parallel_for(count, count < serial_below, [&](Index begin, Index end) {
      bool right = true;
      for (Index i = begin; i < end; ++i) right &= low <= Index(x[i]) && Index(x[i]) < n;
      if (right) {
        for (Index i = begin; i < end; ++i) x[i] += Index(x[i]) < 0 ? order.size() : 0;
        f(x + begin, end - begin);
        return;
      }
      Index first = begin;
      while (low <= Index(x[first]) && Index(x[first]) < n) ++first;
      Index known = refused;
      while (first < known && !refused.compare_exchange_weak(known, first)) {
      }
    });
  }
  if (refused < count)
    throw py::index_error(std::string(name) + " must be in [" + std::to_string(low) + ", " +
                          std::to_string(n) + "), got " + std::to_string(Index(x[refused])));
  return positions;
}

// One of the arrays that batches are made of, and what its header said when it was checked.
struct Source {
  Source(py::array x, int along, std::string name)
      : array(std::move(x)),
        axis(along),
        label(std::move(name)),
        data(data_of(array)),
        form(array),
        dtype(array.dtype()),
        rows(rows_of(array, along)),
        shape(array.shape(), array.shape() + array.ndim()) {}

  void check_unchanged() const {
    if (data_of(array) != data || !form.is_that_of(array))
      throw py::value_error(label +
                            " must stay the array that it was when the batches were made, got one "
                            "whose size, shape, strides or dtype was changed");
  }

  py::array array;  // itself, even of a subclass: a view of it would hide its header and its cycles
  int axis;
  std::string label;
  const char* data;
  Form form;
  py::dtype dtype;
  Rows rows;
  std::vector<Index> shape;
};

// The samples of a batch, and where they were copied to if they were shuffled.
struct Taken {
  Index position;
  Samples samples;
  Batch buffers;
};

// MiniBatches: the arrays, where the next pass through them begins, and what the passes share.
class Batches {
 public:
  Batches(const py::sequence& arrays, const std::vector<std::string>& labels,
          const std::vector<int>& axes, py::object names, const BatchOptions& batches, bool shuffle,
          Index prefetch, std::uint64_t block_rows, std::uint64_t window_blocks, bool read_ahead)
      : names_(std::move(names)),
        prefetch_(prefetch),
        batching_(batches) {
    std::vector<Rows> all, mapped;
    for (std::size_t k = 0; k < axes.size(); ++k) {
      const py::object array = arrays[k];
      if (!py::isinstance<py::array>(array))
        throw py::type_error(labels.at(k) + " must be an array");
      const auto x = py::reinterpret_borrow<py::array>(array);
      check_samples(x, axes[k], batches.n, labels.at(k));
      sources_.emplace_back(x, axes[k], labels[k]);
      all.push_back(sources_.back().rows);
      if (read_ahead && all.back().sequential()) mapped.push_back(all.back());
    }
    if (shuffle)
      loader_.emplace(std::move(all), std::move(mapped),
                      OrderOptions{std::uint64_t(batches.n), block_rows, window_blocks},
                      batching_.longest(), int(prefetch));
  }

  // The thread may be in the midst of a batch, or of reading a window.
  ~Batches() {
    if (!loader_) return;
    const ReleaseGil released;
    loader_.reset();
  }

  // The next pass and those that follow begin at that place.
  void seek(const Seed& seed, std::uint64_t epoch, Index position) {
    const std::lock_guard<std::mutex> lock(mutex_);
    place_ = next_ = batching_.next_batch({seed, epoch, position});
  }
  void set_next(const Seed& seed, std::uint64_t epoch, Index position) {
    const std::lock_guard<std::mutex> lock(mutex_);
    next_ = batching_.next_batch({seed, epoch, position});
  }

  // Where the pass is that moved last, or where seek() said.
  Place place() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return place_;
  }
  void moved(const Place& place) {
    const std::lock_guard<std::mutex> lock(mutex_);
    place_ = place;
  }

  // Where the next pass begins.
  Place next() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return next_;
  }
  Place begin_pass() {
    const std::lock_guard<std::mutex> lock(mutex_);
    const Place place = next_;
    next_ = {place.seed, place.epoch + 1, 0};
    return place;
  }

  const Batching& batching() const noexcept { return batching_; }
  Index prefetch() const noexcept { return prefetch_; }
  BatchLoader* loader() noexcept { return loader_ ? &*loader_ : nullptr; }

  void check_unchanged() const {
    if (sources_.empty()) throw std::runtime_error("batches must not be used after their end");
    for (const Source& source : sources_) source.check_unchanged();
  }

  Pinned pinned() const {
    Pinned arrays;
    for (const Source& source : sources_) arrays.add(source.array);
    return arrays;
  }

  // For as long as a background thread may read the arrays, which is until the end.
  void pin_for_good() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (pinned_) return;
    }
    Pinned arrays = pinned();  // not under the lock: the garbage collector may run
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!pinned_) pinned_ = std::move(arrays);
  }

  // An array, a tuple of them, or a dict.
  py::object show(Taken& taken) const {
    const auto part = [&](std::size_t k) {
      return loader_ ? array_over(std::move(taken.buffers[k]), sources_[k], taken.samples.count)
                     : view(sources_[k], taken.samples);
    };
    if (!names_.is_none()) {
      py::dict result;
      for (std::size_t k = 0; k < sources_.size(); ++k)
        if (PyDict_SetItem(result.ptr(), PyTuple_GET_ITEM(names_.ptr(), Py_ssize_t(k)),
                           part(k).ptr()) != 0)
          throw py::error_already_set();
      return std::move(result);
    }
    if (sources_.size() == 1) return part(0);
    py::tuple result(sources_.size());
    for (std::size_t k = 0; k < sources_.size(); ++k)
      PyTuple_SET_ITEM(result.ptr(), Py_ssize_t(k), part(k).release().ptr());
    return std::move(result);
  }

  py::tuple arrays() const {
    py::tuple result(sources_.size());
    for (std::size_t k = 0; k < sources_.size(); ++k) result[k] = sources_[k].array;
    return result;
  }

  int traverse(visitproc visit, void* arg) const {
    for (const Source& source : sources_) Py_VISIT(source.array.ptr());
    return 0;
  }

  // Lets go of the arrays, of which a subclass may refer to these batches.
  void clear() {
    if (loader_) {
      const ReleaseGil released;
      loader_->stop();
    }
    std::vector<Source> sources;
    sources.swap(sources_);
  }

 private:
  // By NumPy's own functions: 0.2 us an array, where pybind11's constructors took 1.3.
  static py::object make_array(const Source& source, Index count, const Index* strides, char* data,
                               int flags, py::object base) {
    static const auto& numpy = py::detail::npy_api::get();
    Index shape[max_axes];
    std::copy(source.shape.begin(), source.shape.end(), shape);
    shape[source.axis] = count;
    py::object array = py::reinterpret_steal<py::object>(numpy.PyArray_NewFromDescr_(
        numpy.PyArray_Type_, source.dtype.inc_ref().ptr(), int(source.shape.size()), shape, strides,
        data, flags, nullptr));
    if (!array || numpy.PyArray_SetBaseObject_(array.ptr(), base.release().ptr()) != 0)
      throw py::error_already_set();
    return array;
  }

  // Read-only, since a batch is the caller's to work in, and the data set is not.
  static py::object view(const Source& source, const Samples& samples) {
    return make_array(source, samples.count, strides_of(source.array).strides,
                      source.rows.row(samples.first), 0, source.array);
  }

  static py::object array_over(Buffer buffer, const Source& source, Index count) {
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
    return make_array(source, count, strides, data, py::detail::npy_api::NPY_ARRAY_WRITEABLE_,
                      std::move(owner));
  }

  std::vector<Source> sources_;
  const py::object names_;  // a tuple of the arrays' names, or None
  const Index prefetch_;
  const Batching batching_;
  std::optional<BatchLoader> loader_;  // if they are shuffled
  // Guards the rest. Only those that have the GIL hold it, for a few instructions that make no
  // Python object: so nobody holds it at a fork, or while the garbage collector runs.
  mutable std::mutex mutex_;
  Place place_{}, next_{};
  std::optional<Pinned> pinned_;
};

// What iter() gives: one pass, independent of all others. Threads may share one: each batch goes to
// one of them.
class Pass {
 public:
  Pass(py::object owner, const Place& start)
      : owner_(std::move(owner)),
        batches_(owner_.cast<Batches&>()),
        seed_(start.seed),
        epoch_(start.epoch),
        position_(start.position) {}

  // What a walk asked for is dropped, and a window that is being read is waited for.
  ~Pass() {
    if (!batches_.loader()) return;
    const ReleaseGil released;
    walk_.reset();
  }

  // The next batch, or null if there is none left.
  py::object next() {
    batches_.check_unchanged();
    std::optional<Taken> taken = take(batches_.prefetch(), true);
    if (!taken) {
      if (batches_.batching().left(0) == 0) batches_.moved({seed_, epoch_ + 1, 0});
      return {};
    }
    try {
      py::object batch = batches_.show(*taken);
      batches_.moved(batches_.batching().next_batch({seed_, epoch_, position_}));
      return batch;
    } catch (...) {
      // No memory for the arrays: the batch is the next one again, unless another thread has gone on.
      Index after = batches_.batching().after(taken->position);
      position_.compare_exchange_strong(after, taken->position);
      throw;
    }
  }

  // The next batch, while the pass stays where it is; null if there is none.
  py::object peek() {
    batches_.check_unchanged();
    std::optional<Taken> taken = take(0, false);
    return taken ? batches_.show(*taken) : py::object();
  }

  Index left() const { return batches_.batching().left(position_); }

  int traverse(visitproc visit, void* arg) const {
    Py_VISIT(owner_.ptr());
    return 0;
  }

 private:
  struct Work {
    Work(BatchLoader& loader, const Seed& seed, std::uint64_t epoch, bool read_ahead)
        : walk(loader, seed, epoch, read_ahead) {}
    std::mutex mutex;  // held without the GIL
    Walk walk;
  };

  std::optional<Taken> take(Index ahead, bool read_ahead) {
    const Batching& batching = batches_.batching();
    BatchLoader* const loader = batches_.loader();
    if (!loader) {
      Index at = position_;
      do {
        if (!batching.has(at)) return {};
      } while (!position_.compare_exchange_weak(at, batching.after(at)));
      return Taken{at, batching.samples(at), {}};
    }
    Pinned pinned;
    if (ahead == 0)
      pinned = batches_.pinned();
    else
      batches_.pin_for_good();
    const ReleaseGil released;
    Work& work = walk_->get([&] { return Work(*loader, seed_, epoch_, read_ahead); });
    const std::lock_guard<std::mutex> lock(work.mutex);
    const Index at = position_;
    if (!batching.has(at)) return {};
    Taken taken{at, batching.samples(at), work.walk.take(batching.samples(at))};
    Index next = batching.after(at);
    position_ = next;
    for (; ahead > 0 && batching.has(next); --ahead, next = batching.after(next))
      work.walk.prefetch(batching.samples(next));
    return taken;
  }

  const py::object owner_;
  Batches& batches_;
  const Seed seed_;
  const std::uint64_t epoch_;
  std::atomic<Index> position_;  // of the next batch; one word, so that no fork finds it torn
  std::optional<PerProcess<Work>> walk_{std::in_place};
};

// The C++ object of an instance; null while there is none yet.
template <class T>
T* value_of(PyObject* self) {
  const auto value = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
  return value.holder_constructed() ? value.value_ptr<T>() : nullptr;
}

// Has the garbage collector see what a T refers to.
template <class T>
void collect(PyHeapTypeObject* heap_type) {
  PyTypeObject& type = heap_type->ht_type;
  type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    const T* const value = value_of<T>(self);
    return value ? value->traverse(visit, arg) : 0;
  };
}

// Pass.__next__ as the type's own slot: half the time of a method of pybind11's.
PyObject* next_batch(PyObject* self) {
  try {
    Pass* const pass = value_of<Pass>(self);
    if (!pass) throw py::type_error("a pass is made by iter() of MiniBatches");
    return pass->next().release().ptr();
#ifdef __GLIBCXX__
  } catch (abi::__forced_unwind&) {
    throw;  // the end of the thread, which must go on
#endif
  } catch (...) {
    py::detail::try_translate_exceptions();
    return nullptr;
  }
}

// (low, high, epoch, position), the first two of the seed
py::tuple place_tuple(const Place& place) {
  return py::make_tuple(place.seed.low, place.seed.high, place.epoch, place.position);
}

}  // namespace

void bind_shuffler(py::module_& m) {
  py::class_<Seed>(m, "Seed").def(
      py::init([](std::uint64_t low, std::uint64_t high) { return Seed{low, high}; }),
      py::arg("low"), py::arg("high"));

  py::class_<Permutation>(m, "Permutation")
      .def(py::init<std::uint64_t, Seed, std::uint64_t>(), py::arg("n"), py::arg("seed"),
           py::arg("epoch"))
      .def("rows", &rows, py::arg("first"), py::arg("count"))
      .def("rows_at",
           [](const Permutation& order, Positions positions) {
             return replace(std::move(positions), -Index(order.size()), order, "positions",
                            [&](auto* x, Index n) { order.rows_at(x, n); });
           })
      .def("positions_of",
           [](const Permutation& order, Positions rows_of_order) {
             order.positions_of(nullptr, 0);  // makes its table: a job must not, as it may throw
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

  py::class_<Pass>(m, "Pass", py::custom_type_setup([](PyHeapTypeObject* type) {
                     collect<Pass>(type);
                     type->ht_type.tp_iter = PyObject_SelfIter;
                     type->ht_type.tp_iternext = next_batch;
                   }))
      .def_property_readonly("remaining", &Pass::left, "Batches that are still to come.")
      .def("__length_hint__", &Pass::left);

  py::class_<Batches>(m, "Batches", py::custom_type_setup([](PyHeapTypeObject* type) {
                        collect<Batches>(type);
                        type->ht_type.tp_clear = [](PyObject* self) {
                          if (Batches* const batches = value_of<Batches>(self)) batches->clear();
                          return 0;
                        };
                      }))
      .def(py::init([](const py::sequence& arrays, const std::vector<std::string>& labels,
                       const std::vector<int>& axes, py::object names, Index n, Index batch_size,
                       Index min_batch, Index rank, Index world, bool shuffle, Index prefetch,
                       std::uint64_t block_rows, std::uint64_t window_blocks, bool read_ahead) {
             const BatchOptions batches{n, batch_size, min_batch, rank, world};
             return std::make_unique<Batches>(arrays, labels, axes, std::move(names), batches,
                                              shuffle, prefetch, block_rows, window_blocks,
                                              read_ahead);
           }),
           py::kw_only(), py::arg("arrays"), py::arg("labels"), py::arg("axes"), py::arg("names"),
           py::arg("n"), py::arg("batch_size"), py::arg("min_batch"), py::arg("rank"),
           py::arg("world"), py::arg("shuffle"), py::arg("prefetch"), py::arg("block_rows"),
           py::arg("window_blocks"), py::arg("read_ahead"))
      .def("__iter__",
           [](const py::object& self) {
             return std::make_unique<Pass>(self, self.cast<Batches&>().begin_pass());
           })
      .def("peek",
           [](const py::object& self) -> py::object {
             py::object batch = Pass(self, self.cast<Batches&>().next()).peek();
             return batch ? batch : py::none();
           })
      .def("seek", &Batches::seek, py::arg("seed"), py::arg("epoch"), py::arg("position"))
      .def("set_next", &Batches::set_next, py::arg("seed"), py::arg("epoch"), py::arg("position"))
      .def("place", [](const Batches& batches) { return place_tuple(batches.place()); })
      .def("next_place", [](const Batches& batches) { return place_tuple(batches.next()); })
      .def_property_readonly("arrays", &Batches::arrays)
      .def_property_readonly("n_batches",
                             [](const Batches& batches) { return batches.batching().left(0); })
      .def_property_readonly("remaining", [](const Batches& batches) {
        return batches.batching().left(batches.place().position);
      });

  m.def(
      "shuffle",
      [](const std::vector<py::array>& arrays, const std::vector<std::string>& labels,
         const std::vector<int>& axes, const Permutation& order) {
        std::vector<Rows> all;
        std::vector<Region> regions;
        Pinned pinned;
        for (const py::array& array : arrays) pinned.add(array);
        for (std::size_t k = 0; k < arrays.size(); ++k) {
          check_samples(arrays[k], axes.at(k), Index(order.size()), labels.at(k));
          check_updatable(arrays[k], labels[k]);
          regions.push_back(region_of(arrays[k], labels[k]));
          all.push_back(rows_of(arrays[k], axes[k]));
        }
        const Written apart(std::move(regions));
        const ReleaseGil released;
        shuffle(all, order);
      },
      py::arg("arrays"), py::arg("labels"), py::arg("axes"), py::arg("order"));
}

}  // namespace fastoptim
