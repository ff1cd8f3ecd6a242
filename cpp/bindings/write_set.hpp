// Arrays that an operation writes, and which of them another array shares memory with.
#pragma once

#include <string>
#include <vector>

#include "arrays.hpp"

namespace fastoptim {

// The range of addresses that an array's elements occupy.
struct Region {
  const char* begin;
  const char* end;
  const py::array* array;
  const std::string* label;
};
Region region_of(const py::array& x, const std::string& label);

// Half-open intervals, each with a value, sorted once.
class Intervals {
 public:
  void add(Index begin, Index end, std::size_t value) { all_.push_back({begin, end, value}); }
  void sort();
  // Calls visit(value) for each interval that meets [begin, end), until it returns true; returns
  // whether it did.
  template <class Visit>
  bool visit_meeting(Index begin, Index end, const Visit& visit) const;

 private:
  struct Interval {
    Index begin, end;
    std::size_t value;
  };
  std::vector<Interval> all_;    // in order of their begins
  std::vector<Index> last_end_;  // the largest end of the intervals up to this one
};

// No two of the arrays may share memory, nor may an array that the operation reads share memory with
// one of them.
//
// Arrays whose regions do not meet are told apart by sorting. Views that interleave, such as the
// columns of one array, are told apart by residues: the bytes of a view are runs of one width that
// begin at multiples of a period from one another, so that two views of one period share no memory
// unless their runs meet modulo that period. NumPy decides what both leave open. So n arrays take
// n log n comparisons, unless views of many periods interleave.
class WriteSet {
 public:
  WriteSet() = default;
  explicit WriteSet(std::vector<Region> regions);  // ValueError if two of them share memory
  // ValueError if a region shares memory with one of the arrays.
  void check_disjoint(const Region& region) const;

  // Returns an array that shares memory with a region, or null.
  const Region* find_overlap(const Region& region) const { return find(region, regions_.size()); }

 private:
  // Those regions of a cluster whose runs have the same period.
  struct Family {
    Index period;  // 0: a single run
    Intervals addresses, residues;
  };
  // Regions whose ranges of addresses are connected: [first, last) in the order of their begins.
  struct Cluster {
    std::size_t first, last;
    std::vector<Family> families;
  };

  void find_clusters();
  Cluster make_cluster(std::size_t first, std::size_t last) const;
  // Both leave out the region with index `except`.
  const Region* find(const Region& region, std::size_t except) const;
  const Region* find_in(const Cluster& cluster, const Region& region, std::size_t except) const;

  std::vector<Region> regions_;        // in order of their begins
  std::vector<const char*> begins_;    // of the regions
  std::vector<const char*> last_end_;  // the largest end of the regions up to this one
  std::vector<Cluster> clusters_;      // the large ones
};

}  // namespace fastoptim
