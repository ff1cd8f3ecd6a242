// Classes whose instances take part in Python's garbage collection.
#pragma once

#include <pybind11/pybind11.h>

namespace fastoptim {

namespace py = pybind11;

// An argument of py::class_<T>: the collector follows what T::visit shows it. T::visit(f) calls
// f(PyObject*) for each reference that T owns, until that returns other than 0, which it returns
// too; it must not make Python objects.
//
// There is no tp_clear, so an instance is whole for as long as anyone can reach it. A cycle through
// it is broken elsewhere: an array refers to something only as an instance of a Python class, whose
// __dict__ and slots the collector clears.
template <class T>
py::custom_type_setup collectable() {
  return py::custom_type_setup([](PyHeapTypeObject* heap_type) {
    PyTypeObject& type = heap_type->ht_type;
    type.tp_flags |= Py_TPFLAGS_HAVE_GC;
    type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) -> int {
      Py_VISIT(Py_TYPE(self));
      const auto value = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
      if (!value.holder_constructed()) return 0;  // __init__ is under way, or has failed
      return value.value_ptr<T>()->visit([&](PyObject* x) { return x ? visit(x, arg) : 0; });
    };
  });
}

}  // namespace fastoptim
