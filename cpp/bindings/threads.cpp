// Threads in _core: how many, and of which back end.
#include <pybind11/pybind11.h>

#include <string>

#include "../core/fork.hpp"
#include "../core/parallel.hpp"
#include "module.hpp"

#ifdef FASTOPTIM_THREADS
#include "../core/openmp.hpp"
#endif

namespace fastoptim {
namespace {

namespace py = pybind11;

constexpr const char* names[] = {"auto", "pool", "openmp"};

// choice: a name; Python has checked it. RuntimeError if there is no such back end.
void choose_threading(const std::string& choice) {
  if (choice == names[int(Threading::openmp)]) {
#ifdef FASTOPTIM_THREADS
    if (!find_openmp(true))
      throw std::runtime_error(
          "threading 'openmp' must find an OpenMP runtime, got none: no library has loaded one, "
          "and "
          "the system has none of " +
          openmp_library_names());
#else
    throw std::runtime_error(
        "threading must be 'auto' or 'pool' in a build without threads, got 'openmp'");
#endif
    return set_threading(Threading::openmp);
  }
  set_threading(choice == names[int(Threading::pool)] ? Threading::pool : Threading::automatic);
}

// The paths of the OpenMP runtimes for torch's arrays and for others; None: not the pool's concern.
py::tuple openmp_paths() {
#ifdef FASTOPTIM_THREADS
  const auto path = [](const ThreadBackend* team) -> py::object {
    return team ? py::object(py::str(openmp_path(team))) : py::none();
  };
  const ThreadBackend* const of_torch = find_torch_openmp();
  return py::make_tuple(path(of_torch), path(openmp()));
#else
  return py::make_tuple(py::none(), py::none());
#endif
}

}  // namespace

void bind_threads(py::module_& m) {
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("threading", [] { return std::string(names[int(threading())]); });
  m.def("set_threading", &choose_threading, py::arg("choice"));
  m.def("openmp_paths", &openmp_paths);
  m.def("forked", &forked);
}

}  // namespace fastoptim
