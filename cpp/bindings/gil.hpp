// The GIL, and C++ exceptions at the boundary to C.
#pragma once

#include <cxxabi.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

#include "../kernels/kernels.hpp"

namespace fastoptim {

namespace py = pybind11;

// Below this many elements a step keeps the GIL: it ends sooner than another thread could take it.
constexpr Index keep_gil_below_elements = 4096;

// Returns f(), which may wait for the GIL. f must be a single call of a C function, with nothing to
// destroy.
//
// While the interpreter finalizes, a daemon thread that takes the GIL is ended: CPython before 3.14
// calls pthread_exit, which unwinds the stack. This function stops the thread for good instead, as
// CPython 3.14 does. Unwinding would abort the process at the first noexcept function, such as a
// destructor, and it would drop references held in outer frames, without the GIL.
template <class F>
decltype(auto) without_unwinding(const F& f) {
  try {
    return f();
  } catch (...) {  // C throws nothing else
    for (;;) pause();
  }
}

// For slots and methods that are C functions: returns f(), or sets the Python exception that
// corresponds to what f throws and returns null.
template <class F>
PyObject* translate_exceptions(const F& f) {
  try {
    return f();
#ifdef __GLIBCXX__
  } catch (abi::__forced_unwind&) {
    throw;  // the end of the thread: glibc aborts if it is caught
#endif
  } catch (...) {
    py::detail::try_translate_exceptions();
    return nullptr;
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

// function(x). It may run Python code, and so release and take the GIL.
inline py::object call_python(const py::object& function, py::handle x) {
  PyObject* const result = without_unwinding(
      [&] { return PyObject_CallFunctionObjArgs(function.ptr(), x.ptr(), nullptr); });
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

// hasattr(x, name), likewise.
inline bool has_attribute(py::handle x, const char* name) {
  return without_unwinding([&] { return PyObject_HasAttrString(x.ptr(), name); }) == 1;
}

// x.name(), likewise.
inline py::object call_method(py::handle x, const char* name) {
  PyObject* const result =
      without_unwinding([&] { return PyObject_CallMethod(x.ptr(), name, nullptr); });
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

}  // namespace fastoptim
