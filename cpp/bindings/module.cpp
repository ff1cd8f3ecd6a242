// The extension module fastoptim._core.
#include <pybind11/stl.h>

#include <cxxabi.h>

#include <cstdlib>

#include "../core/averages.hpp"
#include "../core/dispatch.hpp"
#include "../core/layout.hpp"
#include "../core/memory.hpp"
#include "../core/roofline.hpp"
#include "../core/step.hpp"
#include "arrays.hpp"
#include "bound_step.hpp"
#include "collectable.hpp"
#include "gil.hpp"
#include "module.hpp"
#include "recent_steps.hpp"
#include "write_set.hpp"

namespace fastoptim {
namespace {

// An uninitialised contiguous array of like's shape and memory order. slot: the state's number,
// which allocate_state takes.
py::array empty_state(const py::array& like, const py::object& dtype_object, int slot) {
  const py::dtype dtype = py::dtype::from_args(dtype_object);
  const Shape shape = shape_of(like);
  const Index item_size = dtype.itemsize(), n_bytes = like.size() * item_size;
  const StateMemory memory = allocate_state(n_bytes, slot);
  const py::capsule capsule(memory.base, [](void* base) { std::free(base); });
  // An array owns the memory, not the capsule itself: NumPy lets a read-only view be made writable
  // again only if its base is a writable array.
  const py::array owner(py::dtype::of<std::uint8_t>(), {n_bytes}, {}, memory.data, capsule);
  return py::array(dtype, std::vector<Index>(shape.extents, shape.extents + shape.n_axes),
                   compact_strides(shape, {strides_of(like).strides, item_size}), memory.data,
                   owner);
}

// Decodes `from`, an array of a storage of fewer bytes, into `to`, a float32 array, without
// arithmetic.
void copy_decoded(const py::array& to, const py::array& from, bool uint16_is_bfloat16) {
  const std::string to_label = "to", from_label = "from";
  Tensor tensor;
  const py::array* const arrays[] = {&to, &from};
  const Storage storages[] = {check_storage(to, to_label, Role::master),
                              check_storage(from, from_label, Role::gradient, Storage::float32,
                                            to_label, uint16_is_bfloat16)};
  check_shape(from, from_label, to);
  check_updatable(to, to_label);
  WriteSet({region_of(to, to_label)}).check_disjoint(region_of(from, from_label));
  const Layout layout = make_layout(shape_of(to), {strides_of(to), strides_of(from)});
  for (std::size_t k = 0; k < 2; ++k) {
    const bool in_place =
        is_aligned(*arrays[k]) && layout.is_contiguous(k, strides_of(*arrays[k]).item_size);
    tensor.operands[k] = {data_of(*arrays[k]), in_place ? nullptr : layout.strides[k].data(),
                          storages[k], nullptr};
  }
  tensor.extents = layout.extents.data();
  tensor.n_axes = int(layout.extents.size());
  tensor.size = layout.size;
  WorkList work;
  work.add({tensor, kernels().copy, 0, 0});
  const Coefficients unused{};
  const ReleaseGil released;
  work.run_step(&unused);
}

void ewma(const py::object& x_object, const py::object& out_object, int axis, double beta,
          bool bias_correction) {
  const py::array x = as_array(x_object, "x"), out = as_array(out_object, "out");
  const Storage storage = check_dtype(x, "x");
  check_like(out, "out", x, "x");
  check_updatable(out, "out");
  for (const py::array* array : {&x, &out})
    if (!is_aligned(*array))
      throw py::value_error(std::string(array == &x ? "x" : "out") +
                            " must be aligned to its item size");
  const bool in_place =
      data_of(x) == data_of(out) && std::equal(x.strides(), x.strides() + x.ndim(), out.strides());
  if (!in_place) {
    const std::string out_label = "out (unless it is x)", x_label = "x";
    WriteSet({region_of(out, out_label)}).check_disjoint(region_of(x, x_label));
  }

  std::vector<Index> extents, strides[2];
  for (int k = 0; k < x.ndim(); ++k) {
    if (k == axis) continue;
    extents.push_back(x.shape(k));
    strides[0].push_back(out.strides(k));
    strides[1].push_back(x.strides(k));
  }
  EwmaArrays arrays{
      data_of(x),
      data_of(out),
      x.strides(axis),
      out.strides(axis),
      x.shape(axis),
      make_layout({int(extents.size()), extents.data()},
                  {{strides[0].data(), x.itemsize()}, {strides[1].data(), x.itemsize()}})};
  ResizeGuard guard;
  guard.add(x);
  guard.add(out);
  const ReleaseGil released;
  run_ewma(arrays, storage, beta, bias_correction);
}

using Names = py::typing::Tuple<py::str, py::ellipsis>;
using Pairs = py::typing::Tuple<py::typing::Tuple<py::str, py::str>, py::ellipsis>;

const char* name_of(OptionKind kind) {
  switch (kind) {
    case OptionKind::fraction: return "fraction";
    case OptionKind::optional_fraction: return "optional_fraction";
    case OptionKind::nonnegative: return "nonnegative";
    case OptionKind::flag: return "flag";
  }
  return "";
}

// The facts of every compiled rule, in the order of the table.
std::vector<RuleFacts> rules() {
  std::vector<RuleFacts> facts;
  for (int k = 0; k < kernels().n_rules; ++k) facts.push_back(kernels().rules[k].facts);
  return facts;
}

Names selected_by(const RuleFacts& facts) {
  py::list names;
  for (const char* const* option = facts.selected_by; *option; ++option)
    names.append(py::str(*option));
  return py::tuple(names);
}

Names states(const RuleFacts& facts) {
  py::list names;
  for (const StateFacts* state = facts.states; state->name; ++state)
    names.append(py::str(state->name));
  return py::tuple(names);
}

Names nonnegative_states(const RuleFacts& facts) {
  py::list names;
  for (const StateFacts* state = facts.states; state->name; ++state)
    if (state->nonnegative) names.append(py::str(state->name));
  return py::tuple(names);
}

Pairs options(const RuleFacts& facts) {
  py::list pairs;
  for (const OptionFacts* option = facts.options; option->name; ++option)
    pairs.append(py::make_tuple(py::str(option->name), py::str(name_of(option->kind))));
  return py::tuple(pairs);
}

// Whether collections still hold the same objects. kept: a tuple with an entry (collection, keys,
// objects, ...) for each, a mapping's keys in the mapping's order.
bool all_unchanged(PyObject* kept) {
  for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kept); ++k) {
    PyObject* const entry = PyTuple_GET_ITEM(kept, k);
    PyObject *const collection = PyTuple_GET_ITEM(entry, 0),
                    *const keys = PyTuple_GET_ITEM(entry, 1),
                    *const objects = PyTuple_GET_ITEM(entry, 2);
    const Py_ssize_t n = PyTuple_GET_SIZE(objects);
    bool same = true;
    if (PyDict_Check(collection) || PyList_Check(collection)) {
      // Compares pointers, without a call: this takes under 50 ns for six tensors.
#ifdef Py_GIL_DISABLED
      Py_BEGIN_CRITICAL_SECTION(collection);
#endif
      if (PyList_Check(collection)) {
        same = PyList_GET_SIZE(collection) == n;
        for (Py_ssize_t i = 0; same && i < n; ++i)
          same = PyList_GET_ITEM(collection, i) == PyTuple_GET_ITEM(objects, i);
      } else {
        same = PyDict_Size(collection) == n;
        PyObject *key, *value;
        Py_ssize_t position = 0;
        for (Py_ssize_t i = 0; same && PyDict_Next(collection, &position, &key, &value); ++i)
          same = key == PyTuple_GET_ITEM(keys, i) && value == PyTuple_GET_ITEM(objects, i);
      }
#ifdef Py_GIL_DISABLED
      Py_END_CRITICAL_SECTION();
#endif
    } else {
      const Py_ssize_t size = PyObject_Size(collection);
      if (size < 0) throw py::error_already_set();
      same = size == n;
      for (Py_ssize_t i = 0; same && i < n; ++i) {
        const auto value = py::reinterpret_steal<py::object>(
            PyObject_GetItem(collection, PyTuple_GET_ITEM(keys, i)));
        if (!value && !PyErr_ExceptionMatches(PyExc_KeyError)) throw py::error_already_set();
        if (!value) PyErr_Clear();
        same = value.ptr() == PyTuple_GET_ITEM(objects, i);
      }
    }
    if (!same) return false;
  }
  return true;
}

// Runs the roofline's loop over contiguous arrays: the parameter, the gradient, the states.
void roofline(const std::vector<py::array>& arrays, Index passes, bool serial) {
  if (arrays.size() < 2 || arrays.size() > max_operands)
    throw py::value_error("arrays must be 2 to " + std::to_string(max_operands) + ", got " +
                          std::to_string(arrays.size()));
  const Storage storage = check_dtype(arrays[0], "array 0");
  char* data[max_operands] = {};
  std::vector<std::string> labels;
  for (std::size_t k = 0; k < arrays.size(); ++k) labels.push_back("array " + std::to_string(k));
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    check_like(arrays[k], labels[k], arrays[0], labels[0]);
    check_updatable(arrays[k], labels[k]);
    if (!is_aligned(arrays[k]) || !(arrays[k].flags() & py::array::c_style))
      throw py::value_error(labels[k] + " must be contiguous and aligned to its item size");
    data[k] = data_of(arrays[k]);
  }
  const ReleaseGil released;
  run_roofline(storage, data, int(arrays.size()) - 2, arrays[0].size(), passes, serial);
}

// Step.run as a C method: pybind11's dispatch, with its argument lists and type look-up, executes as
// many instructions as the checks of six tensors.
PyObject* run_step(PyObject* self, PyObject* const* args, Py_ssize_t n_args) {
  return translate_exceptions([&] {
    if (n_args != 3 && n_args != 4)
      throw py::type_error("run takes lr, grads, t and perhaps kept, got " +
                           std::to_string(n_args) + " arguments");
    if (n_args == 4 && !PyTuple_Check(args[3])) throw py::type_error("kept must be a tuple");
    if (n_args == 4 && !all_unchanged(args[3])) return py::bool_(false).release().ptr();
    BoundStep* const step = value_of<BoundStep>(self);
    if (!step) throw py::type_error("Step.__init__ must be called first");
    step->take_step(args[0], args[1], args[2]);
    return py::none().release().ptr();
  });
}

PyMethodDef run_method{
    "run", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run_step)), METH_FASTCALL,
    "run(self, lr: object, grads: object, t: int | None, kept: tuple = ()) -> bool | None\n"};

PyMethodDef repeat_step_method{
    "repeat_step", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(repeat_step)),
    METH_FASTCALL,
    "repeat_step(function: int, n_arrays: int, t: object, lr: object, seed: object, "
    "rounding: object, *arrays_and_options: object) -> bool\n"};

}  // namespace
}  // namespace fastoptim

namespace py = pybind11;

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  using namespace fastoptim;
  m.doc() = "The compiled core of fastoptim. Private: use the names in fastoptim.";

  kernels();  // so that a wrong FASTOPTIM_ISA fails the import instead of the first step

  py::class_<BoundStep> step(m, "Step", collectable<BoundStep>());
  step.def(py::init<const py::sequence&, const py::sequence&, Index, bool>(), py::arg("rules"),
           py::arg("tensors"), py::arg("t") = 0, py::arg("uint16_is_bfloat16") = false)
      .def("set_rounding", &BoundStep::set_rounding, py::arg("stochastic"), py::arg("seed"))
      .def("zero_states", &BoundStep::zero_states)
      .def("remember", &BoundStep::remember, py::arg("function"), py::arg("arrays"),
           py::arg("options"))
      .def("snapshot", &BoundStep::snapshot, py::arg("arrays"))
      .def("commit", &BoundStep::commit, py::arg("rules"), py::arg("stochastic"), py::arg("seed"),
           py::arg("progress"), py::arg("copies"), py::arg("stores"))
      .def_property_readonly("t", &BoundStep::t)
      .def_property_readonly("is_of_torch", &BoundStep::is_of_torch)
      .def_property_readonly("looked_for_subnormals", &BoundStep::looked_for_subnormals);
  step.attr("run") = py::reinterpret_steal<py::object>(
      PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(step.ptr()), &run_method));

  m.attr("repeat_step") =
      py::reinterpret_steal<py::object>(PyCFunction_New(&repeat_step_method, nullptr));

  py::class_<RuleFacts>(m, "RuleFacts")
      .def_readonly("name", &RuleFacts::name)
      .def_property_readonly("selected_by", &selected_by)
      .def_property_readonly("states", &states)
      .def_property_readonly("nonnegative_states", &nonnegative_states)
      .def_property_readonly("options", &options);
  m.def("rules", &rules);

  m.def("Rule", &RuleSpec::pack, "A rule and its options, for Step.", py::kw_only(),
        py::arg("kernel"), py::arg("weight_decay"), py::arg("decoupled"), py::arg("maximize"),
        py::arg("options"));
  m.def("Tensor", &TensorSpec::pack,
        "A parameter and what goes with it, for Step. labels: what errors call the parameter, the "
        "gradient, each state and the master.",
        py::kw_only(), py::arg("parameter"), py::arg("gradient"), py::arg("states"),
        py::arg("labels"), py::arg("scales") = py::tuple(), py::arg("master") = py::none(),
        py::arg("group") = 0);

  m.def("as_array", &as_array, py::arg("x"), py::arg("label"), py::arg("keep_subclass") = false);
  m.def(
      "check_parameter",
      [](const py::array& x, const std::string& label, bool uint16_is_bfloat16) {
        const Storage storage =
            check_storage(x, label, Role::parameter, {}, {}, uint16_is_bfloat16);
        check_updatable(x, label);
        return storage_name(storage);
      },
      py::arg("x"), py::arg("label"), py::arg("uint16_is_bfloat16") = false);
  m.def("check_updatable", &check_updatable, py::arg("x"), py::arg("label"));
  m.def("check_like", &check_like, py::arg("x"), py::arg("label"), py::arg("like"),
        py::arg("like_label"));
  m.def("empty_state", &empty_state, py::arg("like"), py::arg("dtype"), py::arg("slot"));
  m.def("copy_decoded", &copy_decoded, py::arg("to"), py::arg("from_"),
        py::arg("uint16_is_bfloat16") = false);
  m.def("ewma", &ewma, py::arg("x"), py::arg("out"), py::arg("axis"), py::arg("beta"),
        py::arg("bias_correction"));

  m.def("roofline", &roofline, py::arg("arrays"), py::kw_only(), py::arg("passes") = 1,
        py::arg("serial") = false);

  bind_permutation(m);
  bind_batches(m);

  bind_threads(m);
  m.def("isa", [] { return std::string(kernels().isa); });
  m.def("available_isas", &available_isas);
  m.def("built_isas", &built_isas);
  m.def("compiler", [] { return std::string(FASTOPTIM_COMPILER); });
  m.def("version", [] { return std::string(FASTOPTIM_VERSION); });
}
