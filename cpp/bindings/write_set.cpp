#include "write_set.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace fastoptim {
namespace {

bool share_memory(const py::array& a, const py::array& b) {
  // Exact up to a bound on the work: contrived strides could take exponential time, and count as
  // sharing.
  static constexpr int max_work = 1'000'000;
  const py::module_ numpy = py::module_::import("numpy");
  try {
    // On plain arrays, since a subclass may override NumPy's functions.
    const py::object plain = numpy.attr("asarray");
    return numpy.attr("shares_memory")(plain(a), plain(b), max_work).cast<bool>();
  } catch (py::error_already_set& error) {
    if (!error.matches(numpy.attr("exceptions").attr("TooHardError"))) throw;
    return true;
  }
}

// Clusters from this size on are searched by residues; in smaller ones every pair is tried, which
// takes 0.7 us where NumPy decides.
constexpr std::size_t large_cluster = 8;

// The runs of bytes that contain all of an array's elements: each begins at a multiple of the period
// from the lowest address. They may contain more than the elements.
struct Runs {
  Index width;
  Index period;  // 0: one run
};

Runs runs_of(const py::array& x) {
  std::vector<std::pair<Index, Index>> axes;  // stride, extent - 1
  const Shape shape = shape_of(x);
  const Strides strides = strides_of(x);
  for (int axis = 0; axis < shape.n_axes; ++axis)
    if (shape.extents[axis] > 1 && strides.strides[axis] != 0)
      axes.emplace_back(std::abs(strides.strides[axis]), shape.extents[axis] - 1);
  std::sort(axes.begin(), axes.end());
  Runs runs{strides.item_size, 0};
  for (const auto& [stride, steps] : axes) {
    if (runs.period == 0 && stride <= runs.width)
      runs.width += stride * steps;
    else
      runs.period = std::gcd(runs.period, stride);
  }
  return runs;
}

Index address(const char* x) { return reinterpret_cast<Index>(x); }

// Calls f(begin, end) for the residues of a region's runs: an interval, or two where it wraps.
// Returns whether a call returned true.
template <class F>
bool for_residues(const Region& region, const Runs& runs, const F& f) {
  if (runs.width >= runs.period) return f(Index(0), runs.period);
  const Index begin = address(region.begin) % runs.period, end = begin + runs.width;
  if (end <= runs.period) return f(begin, end);
  return f(begin, runs.period) || f(Index(0), end - runs.period);
}

}  // namespace

Region region_of(const py::array& x, const std::string& label) {
  const Shape shape = shape_of(x);
  const Strides strides = strides_of(x);
  Region region{data_of(x), data_of(x) + strides.item_size, &x, &label};
  for (int axis = 0; axis < shape.n_axes; ++axis) {
    if (shape.extents[axis] == 0) return {data_of(x), data_of(x), &x, &label};
    const Index reach = (shape.extents[axis] - 1) * strides.strides[axis];
    (reach < 0 ? region.begin : region.end) += reach;
  }
  return region;
}

void Intervals::sort() {
  std::sort(all_.begin(), all_.end(),
            [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  for (const Interval& x : all_)
    last_end_.push_back(last_end_.empty() ? x.end : std::max(last_end_.back(), x.end));
}

template <class Visit>
bool Intervals::visit_meeting(Index begin, Index end, const Visit& visit) const {
  const auto after = std::partition_point(all_.begin(), all_.end(),
                                          [&](const Interval& x) { return x.begin < end; });
  for (auto k = std::size_t(after - all_.begin()); k > 0 && last_end_[k - 1] > begin; --k)
    if (all_[k - 1].end > begin && visit(all_[k - 1].value)) return true;
  return false;
}

WriteSet::WriteSet(std::vector<Region> regions) : regions_(std::move(regions)) {
  regions_.erase(std::remove_if(regions_.begin(), regions_.end(),
                                [](const Region& r) { return r.begin == r.end; }),
                 regions_.end());
  std::stable_sort(regions_.begin(), regions_.end(),
                   [](const Region& a, const Region& b) { return a.begin < b.begin; });
  for (const Region& region : regions_) {
    begins_.push_back(region.begin);
    last_end_.push_back(last_end_.empty() ? region.end : std::max(last_end_.back(), region.end));
  }
  find_clusters();
  for (std::size_t k = 1; k < regions_.size(); ++k)
    if (last_end_[k - 1] > regions_[k].begin)
      if (const Region* const other = find(regions_[k], k))
        throw py::value_error(*regions_[k].label + " must not share memory with " + *other->label);
}

void WriteSet::find_clusters() {
  for (std::size_t first = 0, last = 0; first < regions_.size(); first = last) {
    last = first + 1;
    while (last < regions_.size() && last_end_[last - 1] > begins_[last]) ++last;
    if (last - first >= large_cluster) clusters_.push_back(make_cluster(first, last));
  }
}

WriteSet::Cluster WriteSet::make_cluster(std::size_t first, std::size_t last) const {
  std::vector<std::pair<Runs, std::size_t>> members;
  for (std::size_t k = first; k < last; ++k) members.emplace_back(runs_of(*regions_[k].array), k);
  std::stable_sort(members.begin(), members.end(),
                   [](const auto& a, const auto& b) { return a.first.period < b.first.period; });
  Cluster cluster{first, last, {}};
  for (const auto& [runs, k] : members) {
    if (cluster.families.empty() || cluster.families.back().period != runs.period)
      cluster.families.push_back({runs.period, {}, {}});
    Family& family = cluster.families.back();
    family.addresses.add(address(regions_[k].begin), address(regions_[k].end), k);
    const std::size_t value = k;
    if (runs.period != 0)
      for_residues(regions_[k], runs, [&](Index begin, Index end) {
        family.residues.add(begin, end, value);
        return false;
      });
  }
  for (Family& family : cluster.families) {
    family.addresses.sort();
    family.residues.sort();
  }
  return cluster;
}

const Region* WriteSet::find_in(const Cluster& cluster, const Region& region,
                                std::size_t except) const {
  const Runs runs = runs_of(*region.array);
  const Region* found = nullptr;
  const auto shares = [&](std::size_t k) {
    const Region& other = regions_[k];
    if (k == except || other.end <= region.begin || region.end <= other.begin ||
        !share_memory(*region.array, *other.array))
      return false;
    found = &other;
    return true;
  };
  for (const Family& family : cluster.families) {
    if (family.period == 0 || family.period != runs.period)
      family.addresses.visit_meeting(address(region.begin), address(region.end), shares);
    else
      for_residues(region, runs, [&](Index begin, Index end) {
        return family.residues.visit_meeting(begin, end, shares);
      });
    if (found) return found;
  }
  return nullptr;
}

const Region* WriteSet::find(const Region& region, std::size_t except) const {
  if (region.begin == region.end) return nullptr;
  // The number of regions that begin before its end: std::lower_bound without a branch in the loop,
  // which would be mispredicted every other time.
  std::size_t k = 0;
  for (std::size_t n = begins_.size(); n > 0;) {
    const std::size_t half = (n + 1) / 2;
    k = begins_[k + half - 1] < region.end ? k + half : k;
    n -= half;
  }
  while (k > 0 && last_end_[k - 1] > region.begin) {
    const auto cluster = std::partition_point(clusters_.begin(), clusters_.end(),
                                              [&](const Cluster& c) { return c.last < k; });
    if (cluster != clusters_.end() && cluster->first < k) {
      if (const Region* const found = find_in(*cluster, region, except)) return found;
      k = cluster->first;
    } else {
      --k;
      const Region& other = regions_[k];
      if (k != except && other.end > region.begin && share_memory(*region.array, *other.array))
        return &other;
    }
  }
  return nullptr;
}

void WriteSet::check_disjoint(const Region& region) const {
  if (const Region* const other = find_overlap(region))
    throw py::value_error(*region.label + " must not share memory with " + *other->label);
}

}  // namespace fastoptim
