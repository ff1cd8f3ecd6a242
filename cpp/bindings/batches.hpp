// `_core.Batches`: the arrays of a MiniBatches, and what its passes share.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "../shuffle/batch_loader.hpp"
#include "../shuffle/cursor.hpp"
#include "arrays.hpp"

namespace fastoptim {

// The samples of a batch, and the buffers that they were gathered into if they are shuffled.
struct LoadedBatch {
  Index position;
  SampleRange samples;
  Batch buffers;
};

class Batches {
 public:
  // names: a tuple with a name for each array, for batches that are dicts, or None. batches: how
  // an epoch is divided. prefetch: batches that are loaded ahead. block_rows, window_blocks: see
  // row_order.hpp. read_ahead: the arrays map files, whose windows are read ahead.
  Batches(const py::sequence& arrays, const std::vector<std::string>& labels,
          const std::vector<int>& axes, py::object names, const BatchOptions& batches, bool shuffle,
          Index prefetch, std::uint64_t block_rows, std::uint64_t window_blocks, bool read_ahead);
  ~Batches();

  // seek() sets the place of the current pass and where the next one begins; set_next() only the
  // latter.
  void seek(const Seed& seed, std::uint64_t epoch, Index position);
  void set_next(const Seed& seed, std::uint64_t epoch, Index position);

  // The place of the pass that moved last, or the one that seek() set.
  Place place() const;
  void set_place(const Place& place);

  // Where the next pass begins. begin_pass() also moves that on to the next epoch.
  Place next() const;
  Place begin_pass();

  const Batching& batching() const noexcept { return batching_; }
  Index prefetch() const noexcept { return prefetch_; }
  BatchLoader* loader() noexcept { return loader_ ? &*loader_ : nullptr; }

  // ValueError if the header of an array has changed.
  void check_unchanged() const;

  // Keeps the arrays from being resized, for as long as the guard lives, or for good, as a prefetch
  // thread may read them until the end.
  ResizeGuard resize_guard() const;
  void guard_for_good();

  // A batch as the user gets it: an array, a tuple of arrays, or a dict.
  py::object to_python(LoadedBatch& batch) const;

  py::tuple arrays() const;

  // For the garbage collector; see collectable.hpp.
  template <class F>
  int visit(const F& f) const {
    for (const Source& source : sources_)
      if (const int stop = f(source.array.ptr())) return stop;
    return 0;
  }

  // Drops the arrays: an instance of a subclass may refer to these batches.
  void clear();

 private:
  // An array that batches are made of, and its header as it was when the array was checked.
  struct Source {
    Source(py::array x, int along, std::string name);
    void check_unchanged() const;

    // Itself, even if it is of a subclass: a view would hide changes of the header, and reference
    // cycles from the garbage collector.
    py::array array;
    int axis;
    std::string label;
    const char* data;
    ArraySignature signature;
    py::dtype dtype;
    Rows rows;
    std::vector<Index> shape;
  };

  static py::object make_array(const Source& source, Index count, const Index* strides, char* data,
                               int flags, py::object base);
  static py::object view(const Source& source, const SampleRange& samples);
  static py::object array_over(Buffer buffer, const Source& source, Index count);

  std::vector<Source> sources_;
  const py::object names_;
  const Index prefetch_;
  const Batching batching_;
  std::optional<BatchLoader> loader_;  // if the samples are shuffled
  // Guards the members below. It is locked only with the GIL held, for a few instructions that
  // create no Python object: so it is free at a fork, and while the garbage collector runs.
  mutable std::mutex mutex_;
  Place place_{}, next_{};
  std::optional<ResizeGuard> guard_;
};

}  // namespace fastoptim
