// `_core.Pass`, the iterator over a MiniBatches, and the bindings of `_core.Batches`.
#include <pybind11/stl.h>

#include <atomic>
#include <memory>

#include "../core/per_process.hpp"
#include "batches.hpp"
#include "collectable.hpp"
#include "gil.hpp"
#include "module.hpp"

namespace fastoptim {
namespace {

// One pass over the samples, independent of all others. Several threads may iterate over the same
// one: each batch goes to one of them.
class Pass {
 public:
  Pass(py::object owner, const Place& start)
      : owner_(std::move(owner)),
        batches_(owner_.cast<Batches&>()),
        seed_(start.seed),
        epoch_(start.epoch),
        position_(start.position) {}

  // Without the GIL: cancels prefetches, and waits for a window that is being read.
  ~Pass() {
    if (!batches_.loader()) return;
    const ReleaseGil released;
    loading_.reset();
  }

  // Returns the next batch; null at the end.
  py::object next() {
    batches_.check_unchanged();
    std::optional<LoadedBatch> loaded = load_batch(batches_.prefetch(), true);
    if (!loaded) {
      if (batches_.batching().remaining(0) == 0) batches_.set_place({seed_, epoch_ + 1, 0});
      return {};
    }
    try {
      py::object batch = batches_.to_python(*loaded);
      batches_.set_place(batches_.batching().normalized({seed_, epoch_, position_}));
      return batch;
    } catch (...) {
      // No memory for the arrays: moves back to this batch, unless another thread has moved on.
      Index after = batches_.batching().next(loaded->position);
      position_.compare_exchange_strong(after, loaded->position);
      throw;
    }
  }

  // Returns the next batch without moving on; null at the end.
  py::object peek() {
    batches_.check_unchanged();
    std::optional<LoadedBatch> loaded = load_batch(0, false);
    return loaded ? batches_.to_python(*loaded) : py::object();
  }

  Index remaining() const { return batches_.batching().remaining(position_); }

  template <class F>
  int visit(const F& f) const {
    return f(owner_.ptr());
  }

 private:
  struct Loading {
    Loading(BatchLoader& loader, const Seed& seed, std::uint64_t epoch, bool read_ahead)
        : epoch_loader(loader, seed, epoch, read_ahead) {}
    std::mutex mutex;  // held without the GIL
    EpochLoader epoch_loader;
  };

  // Loads the next batch and moves on; has the `prefetch` batches after it loaded ahead.
  std::optional<LoadedBatch> load_batch(Index prefetch, bool read_ahead) {
    const Batching& batching = batches_.batching();
    BatchLoader* const loader = batches_.loader();
    if (!loader) {
      Index at = position_;
      do {
        if (!batching.has(at)) return {};
      } while (!position_.compare_exchange_weak(at, batching.next(at)));
      return LoadedBatch{at, batching.samples(at), {}};
    }
    ResizeGuard guard;
    if (prefetch == 0)
      guard = batches_.resize_guard();
    else
      batches_.guard_for_good();
    const ReleaseGil released;
    Loading& loading = loading_->get([&] { return Loading(*loader, seed_, epoch_, read_ahead); });
    const std::lock_guard<std::mutex> lock(loading.mutex);
    const Index at = position_;
    if (!batching.has(at)) return {};
    LoadedBatch loaded{at, batching.samples(at),
                       loading.epoch_loader.load_batch(batching.samples(at))};
    Index next = batching.next(at);
    position_ = next;
    for (; prefetch > 0 && batching.has(next); --prefetch, next = batching.next(next))
      loading.epoch_loader.prefetch(batching.samples(next));
    return loaded;
  }

  const py::object owner_;
  Batches& batches_;
  const Seed seed_;
  const std::uint64_t epoch_;
  std::atomic<Index> position_;  // of the next batch; a single word, consistent at any fork
  std::unique_ptr<PerProcess<Loading>> loading_ = std::make_unique<PerProcess<Loading>>();
};

// Pass.__next__ as a slot of the type, which takes half the time of a pybind11 method.
PyObject* next_batch(PyObject* self) {
  return translate_exceptions([&] {
    Pass* const pass = value_of<Pass>(self);
    if (!pass) throw py::type_error("a pass is made by iter() of MiniBatches");
    return pass->next().release().ptr();
  });
}

py::tuple place_tuple(const Place& place) {
  return py::make_tuple(place.seed.low, place.seed.high, place.epoch, place.position);
}

}  // namespace

void bind_batches(py::module_& m) {
  py::class_<Pass>(m, "Pass", py::custom_type_setup([](PyHeapTypeObject* type) {
                     make_collectable<Pass>(type);
                     type->ht_type.tp_iter = PyObject_SelfIter;
                     type->ht_type.tp_iternext = next_batch;
                   }))
      .def_property_readonly("remaining", &Pass::remaining, "Batches that are still to come.")
      .def("__length_hint__", &Pass::remaining);

  py::class_<Batches>(m, "Batches", py::custom_type_setup([](PyHeapTypeObject* type) {
                        make_collectable<Batches>(type);
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
                             [](const Batches& batches) { return batches.batching().remaining(0); })
      .def_property_readonly("remaining", [](const Batches& batches) {
        return batches.batching().remaining(batches.place().position);
      });
}

}  // namespace fastoptim
