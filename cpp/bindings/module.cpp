// What Python sees of the core.
#include <pybind11/stl.h>

#include <cstdlib>

#include "../core/averages.hpp"
#include "../core/dispatch.hpp"
#include "../core/layout.hpp"
#include "../core/memory.hpp"
#include "../core/parallel.hpp"
#include "../core/roofline.hpp"
#include "../core/step.hpp"
#include "arrays.hpp"
#include "bound_step.hpp"
#include "collectable.hpp"
#include "gil.hpp"
#include "shuffler.hpp"

namespace fastoptim {
namespace {

// An uninitialised array of like's shape and dtype whose elements lie one after another in the
// order in which like's do.
py::array empty_state(const py::array& like, const py::object& dtype_object, int slot) {
  const py::dtype dtype = py::dtype::from_args(dtype_object);
  const Shape shape = shape_of(like);
  const Index item_size = dtype.itemsize(), n_bytes = like.size() * item_size;
  const Placed placed = allocate_state(n_bytes, slot);
  const py::capsule capsule(placed.base, [](void* base) { std::free(base); });
  // An array between the two: NumPy lets a view be made writable again, a capsule's owner not.
  const py::array owner(py::dtype("u1"), {n_bytes}, {}, placed.data, capsule);
  return py::array(dtype, std::vector<Index>(shape.extents, shape.extents + shape.n_axes),
                   compact_strides(shape, {strides_of(like).strides, item_size}), placed.data,
                   owner);
}

// to = from, without arithmetic: a float32 array from one of fewer bytes.
void copy_decoded(const py::array& to, const py::array& from, bool uint16_is_bfloat16) {
  const std::string to_label = "to", from_label = "from";
  Tensor tensor;
  const py::array* const arrays[] = {&to, &from};
  const Storage storages[] = {
      check_storage(to, to_label, Role::master),
      check_storage(from, from_label, Role::gradient, Storage::float32, to_label,
                    uint16_is_bfloat16)};
  check_shape(from, from_label, to);
  check_updatable(to, to_label);
  Written({region_of(to, to_label)}).check_apart(region_of(from, from_label));
  const Layout layout = make_layout(shape_of(to), {strides_of(to), strides_of(from)});
  for (std::size_t k = 0; k < 2; ++k) {
    const bool plain =
        is_aligned(*arrays[k]) && layout.contiguous(k, strides_of(*arrays[k]).item_size);
    tensor.operands[k] = {data_of(*arrays[k]), plain ? nullptr : layout.strides[k].data(),
                          storages[k], nullptr};
  }
  tensor.extents = layout.extents.data();
  tensor.n_axes = int(layout.extents.size());
  tensor.size = layout.size;
  WorkList work;
  work.add({tensor, kernels().copy, 0, 0});
  const Coefficients unused{};
  const ReleaseGil released;
  work.run(&unused);
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
  const bool in_place = data_of(x) == data_of(out) &&
                        std::equal(x.strides(), x.strides() + x.ndim(), out.strides());
  if (!in_place) {
    const std::string out_label = "out (unless it is x)", x_label = "x";
    Written({region_of(out, out_label)}).check_apart(region_of(x, x_label));
  }

  std::vector<Index> extents, strides[2];
  for (int k = 0; k < x.ndim(); ++k) {
    if (k == axis) continue;
    extents.push_back(x.shape(k));
    strides[0].push_back(out.strides(k));
    strides[1].push_back(x.strides(k));
  }
  EwmaArrays arrays{data_of(x), data_of(out), x.strides(axis), out.strides(axis), x.shape(axis),
                    make_layout({int(extents.size()), extents.data()},
                                {{strides[0].data(), x.itemsize()},
                                 {strides[1].data(), x.itemsize()}})};
  Pinned pinned;
  pinned.add(x);
  pinned.add(out);
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

// Whether collections still hold what they held. kept: a tuple of (collection, keys, objects,
// ...) for each; a mapping's keys are in the order in which it had them.
bool hold_the_same(PyObject* kept) {
  for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kept); ++k) {
    PyObject* const entry = PyTuple_GET_ITEM(kept, k);
    PyObject *const collection = PyTuple_GET_ITEM(entry, 0), *const keys = PyTuple_GET_ITEM(entry, 1),
                    *const objects = PyTuple_GET_ITEM(entry, 2);
    const Py_ssize_t n = PyTuple_GET_SIZE(objects);
    bool same = true;
    if (PyDict_Check(collection) || PyList_Check(collection)) {
      // Pointers are compared and nothing is called: this takes under 50 ns for six tensors.
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

// Makes passes of the roofline's loop over contiguous arrays: the parameter, the gradient, the states.
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

// Step.run as a plain method of the type: pybind11's way to one, with its lists of arguments and
// its look-up of types, takes as many instructions as checking six tensors does.
PyObject* run_step(PyObject* self, PyObject* const* args, Py_ssize_t n_args) {
  try {
    if (n_args != 3 && n_args != 4)
      throw py::type_error("run takes lr, grads, t and perhaps kept, got " +
                           std::to_string(n_args) + " arguments");
    if (n_args == 4 && !PyTuple_Check(args[3])) throw py::type_error("kept must be a tuple");
    if (n_args == 4 && !hold_the_same(args[3])) return py::bool_(false).release().ptr();
    const auto value = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
    if (!value.holder_constructed()) throw py::type_error("Step.__init__ must be called first");
    value.value_ptr<BoundStep>()->run(args[0], args[1], args[2]);
    return py::none().release().ptr();
#ifdef __GLIBCXX__
  } catch (abi::__forced_unwind&) {
    throw;  // the end of the thread, which must go on
#endif
  } catch (...) {
    py::detail::try_translate_exceptions();
    return nullptr;
  }
}

PyMethodDef run_method{"run",
                       reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run_step)),
                       METH_FASTCALL,
                       "run(self, lr: object, grads: object, t: int | None, kept: tuple = ()) "
                       "-> bool | None\n"};

}  // namespace
}  // namespace fastoptim

namespace py = pybind11;

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  using namespace fastoptim;
  m.doc() = "The compiled core of fastoptim. Private: use the names in fastoptim.";

  kernels();  // a wrong FASTOPTIM_ISA fails the import, not the first step

  py::class_<BoundStep> step(m, "Step", collectable<BoundStep>());
  step.def(py::init<const py::sequence&, const py::sequence&, Index, bool>(), py::arg("rules"),
           py::arg("tensors"), py::arg("t") = 0, py::arg("uint16_is_bfloat16") = false)
      .def("set_rounding", &BoundStep::set_rounding, py::arg("stochastic"), py::arg("seed"))
      .def("zero_states", &BoundStep::zero_states)
      .def("snapshot", &BoundStep::snapshot, py::arg("arrays"))
      .def("commit", &BoundStep::commit, py::arg("rules"), py::arg("stochastic"), py::arg("seed"),
           py::arg("progress"), py::arg("copies"), py::arg("stores"))
      .def_property_readonly("t", &BoundStep::t)
      .def_property_readonly("looked_for_subnormals", &BoundStep::looked_for_subnormals);
  step.attr("run") = py::reinterpret_steal<py::object>(
      PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(step.ptr()), &run_method));

  py::class_<RuleFacts>(m, "RuleFacts")
      .def_readonly("name", &RuleFacts::name)
      .def_property_readonly("selected_by", &selected_by)
      .def_property_readonly("states", &states)
      .def_property_readonly("nonnegative_states", &nonnegative_states)
      .def_property_readonly("options", &options);
  m.def("rules", &rules);

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

  bind_shuffler(m);

  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("forked", &forked);
  m.def("isa", [] { return std::string(kernels().isa); });
  m.def("available_isas", &available_isas);
  m.def("built_isas", &built_isas);
  m.def("compiler", [] { return std::string(FASTOPTIM_COMPILER); });
  m.def("version", [] { return std::string(FASTOPTIM_VERSION); });
}
