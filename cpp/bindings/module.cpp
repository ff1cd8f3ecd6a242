// What Python sees of the core.
#include <pybind11/stl.h>

#include <cxxabi.h>

#include <cstdlib>

#include "../averages.hpp"
#include "../dispatch.hpp"
#include "../layout.hpp"
#include "../memory.hpp"
#include "../parallel.hpp"
#include "../roof.hpp"
#include "arrays.hpp"
#include "bound_step.hpp"
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
  const ReleaseGil released;
  run_ewma(arrays, storage, beta, bias_correction);
}

// Step.run as a plain method of the type: pybind11's way to one, with its lists of arguments and
// its look-up of types, takes as many instructions as checking six tensors does.
PyObject* run_step(PyObject* self, PyObject* const* args, Py_ssize_t n_args) {
  try {
    if (n_args != 3)
      throw py::type_error("run takes lr, grads and t, got " + std::to_string(n_args) +
                           " arguments");
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
                       METH_FASTCALL, "run($self, lr, grads, t, /)\n--\n\n"};

}  // namespace
}  // namespace fastoptim

namespace py = pybind11;

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  using namespace fastoptim;
  m.doc() = "The compiled core of fastoptim. Private: use the names in fastoptim.";

  kernels();  // a wrong FASTOPTIM_ISA fails the import, not the first step

  py::class_<BoundStep> step(m, "Step");
  step.def(py::init<const py::sequence&, const py::sequence&, Index, bool>(), py::arg("rules"),
           py::arg("tensors"), py::arg("t") = 0, py::arg("uint16_is_bfloat16") = false)
      .def("set_rule", &BoundStep::set_rule, py::arg("group"), py::arg("rule"))
      .def("set_rounding", &BoundStep::set_rounding, py::arg("stochastic"), py::arg("seed"))
      .def("zero_states", &BoundStep::zero_states)
      .def("snapshot", &BoundStep::snapshot, py::arg("arrays"))
      .def("restore", &BoundStep::restore, py::arg("t"), py::arg("rules"),
           py::arg("copies"), py::arg("stochastic"), py::arg("seed"))
      .def_property_readonly("t", &BoundStep::t)
      .def_property_readonly("looked_for_subnormals", &BoundStep::looked_for_subnormals);
  step.attr("run") = py::reinterpret_steal<py::object>(
      PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(step.ptr()), &run_method));

  m.def("as_array", &as_array, py::arg("x"), py::arg("label"));
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
  m.def("ewma", &ewma, py::arg("x"), py::arg("out"), py::arg("axis"), py::arg("beta"),
        py::arg("bias_correction"));

  py::class_<Roof>(m, "Roof")
      .def(py::init([](const std::string& dtype, int n_states, Index n, Index stagger,
                       bool huge_pages) {
             if (dtype != "float32" && dtype != "float64")
               throw py::value_error("dtype must be float32 or float64, got " + dtype);
             const Storage storage = dtype == "float32" ? Storage::float32 : Storage::float64;
             return std::make_unique<Roof>(storage, n_states, n, stagger, huge_pages);
           }),
           py::arg("dtype"), py::arg("n_states"), py::arg("n"), py::kw_only(),
           py::arg("stagger") = Roof::best_stagger, py::arg("huge_pages") = true)
      .def("run", &Roof::run, py::arg("passes") = 1, py::arg("serial") = false,
           py::call_guard<ReleaseGil>());

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
