#include "bound_tensor.hpp"

#include <pybind11/stl.h>

#include <cstdint>
#include <tuple>

namespace fastoptim {

py::tuple TensorSpec::pack(const py::object& parameter, const py::object& gradient,
                           const py::sequence& states, const py::sequence& labels,
                           const py::sequence& scales, const py::object& master,
                           std::size_t group) {
  return py::make_tuple(group, labels, parameter, gradient, states, scales, master);
}

TensorSpec::TensorSpec(py::handle packed) {
  std::tie(group, labels, parameter, gradient, states, scales, master) =
      packed.cast<std::tuple<std::size_t, std::vector<std::string>, py::object, py::object,
                             std::vector<py::object>, std::vector<py::array>, py::object>>();
}

BoundArray::BoundArray(py::array x, std::string label)
    : array_(std::move(x)),
      data_(data_of(array_)),
      signature_(array_),
      label_(std::move(label)) {
  base_guard_.add_base_of(array_);
}

[[noreturn]] void BoundArray::refuse_changed() const {
  throw py::value_error(label_ +
                        " must stay the array that it was when it was bound, got one whose "
                        "size, shape, strides or dtype was changed");
}

BoundTensor::BoundTensor(TensorSpec spec, const RuleGroup& group, bool uint16_is_bfloat16)
    : group_(spec.group),
      has_bound_gradient_(!spec.gradient.is_none()),
      has_master_(!spec.master.is_none()),
      uint16_is_bfloat16_(uint16_is_bfloat16) {
  bind_arrays(spec, group);
  check_arrays(group.rule().n_states, !spec.scales.empty());
  bind_scales(spec);
  bound_storage_ = storages_[1];
}

void BoundTensor::bind_arrays(TensorSpec& spec, const RuleGroup& group) {
  const int n_states = group.rule().n_states;
  storages_.reserve(spec.labels.size());
  std::vector<py::handle> given{spec.parameter,
                                has_bound_gradient_ ? spec.gradient : spec.parameter};
  given.insert(given.end(), spec.states.begin(), spec.states.end());
  if (has_master_) given.push_back(spec.master);
  if (int(spec.states.size()) != n_states || spec.labels.size() != given.size() ||
      (!spec.scales.empty() && int(spec.scales.size()) != n_states))
    throw py::value_error(group.name() + " takes " + std::to_string(n_states) + " states, got " +
                          std::to_string(spec.states.size()) + ", " +
                          std::to_string(spec.scales.size()) + " scales and " +
                          std::to_string(spec.labels.size()) + " labels");
  arrays_.reserve(given.size());
  for (std::size_t k = 0; k < given.size(); ++k)
    arrays_.emplace_back(as_array(given[k], spec.labels[k], true), std::move(spec.labels[k]));
}

void BoundTensor::check_arrays(int n_states, bool in_q8) {
  const BoundArray& parameter = arrays_[0];
  for (std::size_t k = 0; k < arrays_.size(); ++k) {
    const BoundArray& x = arrays_[k];
    const Role role = k == 0                   ? Role::parameter
                      : k == 1                 ? Role::gradient
                      : int(k) >= 2 + n_states ? Role::master
                      : in_q8                  ? Role::codes
                                               : Role::state;
    storages_.push_back(check_storage(x.array(), x.label(), role,
                                      k ? storages_[0] : Storage::float32, parameter.label(),
                                      uint16_is_bfloat16_));
    if (k > 0) check_shape(x.array(), x.label(), parameter.array());
    if (k != 1) check_updatable(x.array(), x.label());
  }
}

void BoundTensor::bind_scales(const TensorSpec& spec) {
  const Index n_blocks = (arrays_[0].array().size() + q8_block - 1) / q8_block;
  for (std::size_t k = 0; k < spec.scales.size(); ++k)
    scales_.emplace_back(spec.scales[k], "the scales of " + arrays_[2 + k].label());
  for (const BoundArray& scale : scales_) {
    const py::array& x = scale.array();
    if (check_storage(x, scale.label(), Role::codes) != Storage::unsigned8 || x.ndim() != 1 ||
        x.size() != n_blocks || (n_blocks > 1 && x.strides(0) != 1))
      throw py::value_error(scale.label() + " must be " + std::to_string(n_blocks) +
                            " bytes in a row");
  }
}

void BoundTensor::add_written(std::vector<Region>& regions) const {
  for (const BoundArray& x : arrays_)
    if (&x != &arrays_[1]) regions.push_back(x.region());
  for (const BoundArray& x : scales_) regions.push_back(x.region());
}

void BoundTensor::check_gradient(StepGradient& grad, const WriteSet& written) const {
  const BoundArray &parameter = arrays_[0], &bound = arrays_[1];
  grad.matches_layout =
      laid_out_signature_.matches(grad.array) && laid_out_aligned_ == is_aligned(grad.array);
  if (grad.matches_layout) {
    char* const data = data_of(grad.array);
    written.check_disjoint(
        {data - bytes_before_, data + bytes_after_, &grad.array, &bound.label()});
  } else {
    grad.storage = check_storage(grad.array, bound.label(), Role::gradient, storages_[0],
                                 parameter.label(), uint16_is_bfloat16_);
    check_shape(grad.array, bound.label(), parameter.array());
    written.check_disjoint(region_of(grad.array, bound.label()));
  }
}

void BoundTensor::set_gradient(const StepGradient& grad, Tensor& tensor) {
  if (grad.matches_layout)
    tensor.operands[1].data = data_of(grad.array);
  else
    lay_out(grad.array, grad.storage, tensor);
}

void BoundTensor::set_bound_gradient(Tensor& tensor) {
  lay_out(arrays_[1].array(), bound_storage_, tensor);
}

void BoundTensor::lay_out(const py::array& grad, Storage storage, Tensor& tensor) {
  storages_[1] = storage;
  laid_out_signature_ = ArraySignature();  // matches nothing, in case memory runs out below
  std::vector<const py::array*> arrays;
  std::vector<Strides> strides;
  for (const BoundArray& x : arrays_) {
    arrays.push_back(arrays.size() == 1 ? &grad : &x.array());
    strides.push_back(strides_of(*arrays.back()));
  }
  layout_ = make_layout(shape_of(*arrays[0]), strides);

  // If there is a master, the rule updates it, and the parameter is its rounded copy.
  const std::size_t updated = has_master_ ? arrays.size() - 1 : 0;
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    const bool in_place = is_aligned(*arrays[k]) && layout_.is_contiguous(k, strides[k].item_size);
    Operand& operand = k == updated ? tensor.operands[0]
                       : k == 0     ? tensor.rounded_param
                                    : tensor.operands[k];
    operand = {data_of(*arrays[k]), in_place ? nullptr : layout_.strides[k].data(), storages_[k],
               nullptr};
  }
  for (std::size_t k = 0; k < scales_.size(); ++k)
    tensor.operands[2 + k].scales = reinterpret_cast<std::uint8_t*>(data_of(scales_[k].array()));
  tensor.extents = layout_.extents.data();
  tensor.n_axes = int(layout_.extents.size());
  tensor.size = layout_.size;

  laid_out_signature_ = ArraySignature(grad);
  laid_out_aligned_ = is_aligned(grad);
  const Region region = region_of(grad, arrays_[1].label());
  bytes_before_ = data_of(grad) - region.begin;
  bytes_after_ = region.end - data_of(grad);
}

}  // namespace fastoptim
