// Classes whose instances the cyclic garbage collector can traverse, and access to their C++ values
// from C slots.
#pragma once

#include <pybind11/pybind11.h>

namespace fastoptim {

namespace py = pybind11;

// The C++ value of an instance of py::class_<T>; null before __init__ is done, or if it failed.
template <class T>
T* value_of(PyObject* self) {
  const auto value = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
  return value.holder_constructed() ? value.value_ptr<T>() : nullptr;
}

// Makes the instances of a type visible to the garbage collector. T::visit(f) must call
// f(PyObject*) for each reference that T owns until f returns other than 0, and return that; it
// must not create Python objects.
template <class T>
void make_collectable(PyHeapTypeObject* heap_type) {
  PyTypeObject& type = heap_type->ht_type;
  type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) -> int {
    Py_VISIT(Py_TYPE(self));
    const T* const value = value_of<T>(self);
    return value ? value->visit([&](PyObject* x) { return x ? visit(x, arg) : 0; }) : 0;
  };
}

// The same as an argument of py::class_<T>.
//
// It sets no tp_clear, so that an instance stays intact as long as anyone can reach it. The
// collector can break a cycle through it elsewhere: an array can refer to another object only if
// it is an instance of a Python class, whose __dict__ and slots the collector clears.
template <class T>
py::custom_type_setup collectable() {
  return py::custom_type_setup(make_collectable<T>);
}

}  // namespace fastoptim
