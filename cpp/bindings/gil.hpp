// Releasing the GIL, and taking it back without ever unwinding.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

namespace fastoptim {

namespace py = pybind11;

// f(), which may wait for the GIL and is no more than a call of C: nothing in it is destroyed.
//
// While the interpreter finalizes, taking the GIL back ends a daemon thread: CPython before 3.14
// does that with pthread_exit, which unwinds the stack. Here the thread stops for good instead, as
// CPython 3.14 does it: the unwinding would abort the process at the first noexcept function, such
// as a destructor, and frames further out hold references, which must not be dropped without the
// GIL.
template <class F>
decltype(auto) without_unwinding(const F& f) {
  try {
    return f();
  } catch (...) {  // C throws nothing else
    for (;;) pause();
  }
}

// RAII: releases the GIL; the destructor takes it back.
class ReleaseGil {
 public:
  ReleaseGil() : state_(PyEval_SaveThread()) {}
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;
  ~ReleaseGil() {
    without_unwinding([this] { PyEval_RestoreThread(state_); });
  }

 private:
  PyThreadState* const state_;
};

// function(x). Behind it may be Python code, which takes turns with other threads.
inline py::object call_python(const py::object& function, py::handle x) {
  PyObject* const result = without_unwinding(
      [&] { return PyObject_CallFunctionObjArgs(function.ptr(), x.ptr(), nullptr); });
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

// x.name, and x.name(), likewise.
inline bool has_attribute(py::handle x, const char* name) {
  return without_unwinding([&] { return PyObject_HasAttrString(x.ptr(), name); }) == 1;
}
inline py::object call_method(py::handle x, const char* name) {
  PyObject* const result =
      without_unwinding([&] { return PyObject_CallMethod(x.ptr(), name, nullptr); });
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

}  // namespace fastoptim
