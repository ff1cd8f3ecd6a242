// Releasing the GIL, and taking it back without ever unwinding.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <cxxabi.h>

namespace fastoptim {

// RAII: releases the GIL; the destructor takes it back.
//
// While the interpreter finalizes, taking the GIL back ends a daemon thread: CPython before 3.14 does
// that with pthread_exit, which unwinds the stack. py::gil_scoped_release lets that unwinding reach
// its noexcept destructor, and the process aborts. Here the thread stops for good instead, as
// CPython 3.14 does it: frames further out hold references, which must not be dropped without the GIL.
class ReleaseGil {
 public:
  ReleaseGil() : state_(PyEval_SaveThread()) {}
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;
  ~ReleaseGil() {
#ifdef __GLIBCXX__
    try {
      PyEval_RestoreThread(state_);
    } catch (abi::__forced_unwind&) {
      for (;;) pause();
    }
#else
    PyEval_RestoreThread(state_);
#endif
  }

 private:
  PyThreadState* const state_;
};

}  // namespace fastoptim
