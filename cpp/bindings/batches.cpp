#include "batches.hpp"

#include <algorithm>

#include "gil.hpp"
#include "samples.hpp"

namespace fastoptim {

Batches::Source::Source(py::array x, int along, std::string name)
    : array(std::move(x)),
      axis(along),
      label(std::move(name)),
      data(data_of(array)),
      signature(array),
      dtype(array.dtype()),
      rows(rows_of(array, along)),
      shape(array.shape(), array.shape() + array.ndim()) {}

void Batches::Source::check_unchanged() const {
  if (data_of(array) != data || !signature.matches(array))
    throw py::value_error(label +
                          " must stay the array that it was when the batches were made, got one "
                          "whose size, shape, strides or dtype was changed");
}

Batches::Batches(const py::sequence& arrays, const std::vector<std::string>& labels,
                 const std::vector<int>& axes, py::object names, const BatchOptions& batches,
                 bool shuffle, Index prefetch, std::uint64_t block_rows,
                 std::uint64_t window_blocks, bool read_ahead)
    : names_(std::move(names)),
      prefetch_(prefetch),
      batching_(batches) {
  std::vector<Rows> all, mapped;
  for (std::size_t k = 0; k < axes.size(); ++k) {
    const py::object array = arrays[k];
    if (!py::isinstance<py::array>(array)) throw py::type_error(labels.at(k) + " must be an array");
    const auto x = py::reinterpret_borrow<py::array>(array);
    check_samples(x, axes[k], batches.n, labels.at(k));
    sources_.emplace_back(x, axes[k], labels[k]);
    all.push_back(sources_.back().rows);
    if (read_ahead && all.back().is_sequential()) mapped.push_back(all.back());
  }
  if (shuffle)
    loader_.emplace(std::move(all), std::move(mapped),
                    OrderOptions{std::uint64_t(batches.n), block_rows, window_blocks},
                    batching_.max_count(), int(prefetch));
}

// Without the GIL, because it waits for the prefetch thread, which may be loading a batch.
Batches::~Batches() {
  if (!loader_) return;
  const ReleaseGil released;
  loader_.reset();
}

void Batches::seek(const Seed& seed, std::uint64_t epoch, Index position) {
  const std::lock_guard<std::mutex> lock(mutex_);
  place_ = next_ = batching_.normalized({seed, epoch, position});
}

void Batches::set_next(const Seed& seed, std::uint64_t epoch, Index position) {
  const std::lock_guard<std::mutex> lock(mutex_);
  next_ = batching_.normalized({seed, epoch, position});
}

Place Batches::place() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return place_;
}

void Batches::set_place(const Place& place) {
  const std::lock_guard<std::mutex> lock(mutex_);
  place_ = place;
}

Place Batches::next() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return next_;
}

Place Batches::begin_pass() {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Place place = next_;
  next_ = {place.seed, place.epoch + 1, 0};
  return place;
}

void Batches::check_unchanged() const {
  if (sources_.empty()) throw std::runtime_error("batches must not be used after their end");
  for (const Source& source : sources_) source.check_unchanged();
}

ResizeGuard Batches::resize_guard() const {
  ResizeGuard guard;
  for (const Source& source : sources_) guard.add(source.array);
  return guard;
}

void Batches::guard_for_good() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (guard_) return;
  }
  ResizeGuard guard = resize_guard();  // without the lock: the garbage collector may run
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!guard_) guard_ = std::move(guard);
}

py::object Batches::to_python(LoadedBatch& batch) const {
  const auto part = [&](std::size_t k) {
    return loader_ ? array_over(std::move(batch.buffers[k]), sources_[k], batch.samples.count)
                   : view(sources_[k], batch.samples);
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

py::tuple Batches::arrays() const {
  py::tuple result(sources_.size());
  for (std::size_t k = 0; k < sources_.size(); ++k) result[k] = sources_[k].array;
  return result;
}

void Batches::clear() {
  if (loader_) {
    const ReleaseGil released;
    loader_->stop();
  }
  std::vector<Source> sources;
  sources.swap(sources_);
}

// Calls NumPy's C functions, which take 0.2 us an array; pybind11's constructors took 1.3 us.
py::object Batches::make_array(const Source& source, Index count, const Index* strides, char* data,
                               int flags, py::object base) {
  static const auto& numpy = py::detail::npy_api::get();
  Index shape[max_axes];
  std::copy(source.shape.begin(), source.shape.end(), shape);
  shape[source.axis] = count;
  py::object array = py::reinterpret_steal<py::object>(
      numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, source.dtype.inc_ref().ptr(),
                                  int(source.shape.size()), shape, strides, data, flags, nullptr));
  if (!array || numpy.PyArray_SetBaseObject_(array.ptr(), base.release().ptr()) != 0)
    throw py::error_already_set();
  return array;
}

// Read-only: users may write into a batch, but not into the data set by way of one.
py::object Batches::view(const Source& source, const SampleRange& samples) {
  return make_array(source, samples.count, strides_of(source.array).strides,
                    source.rows.row(samples.first), 0, source.array);
}

py::object Batches::array_over(Buffer buffer, const Source& source, Index count) {
  Index strides[max_axes];
  source.rows.batch_strides(count, strides);
  char* data = buffer.data();
  // The array owns the buffer, which returns to its pool when the last view of the array goes.
  auto owned = std::make_unique<Buffer>(std::move(buffer));
  py::object owner =
      py::reinterpret_steal<py::object>(PyCapsule_New(owned.get(), nullptr, [](PyObject* capsule) {
        delete static_cast<Buffer*>(PyCapsule_GetPointer(capsule, nullptr));
      }));
  if (!owner) throw py::error_already_set();
  (void)owned.release();
  return make_array(source, count, strides, data, py::detail::npy_api::NPY_ARRAY_WRITEABLE_,
                    std::move(owner));
}

}  // namespace fastoptim
