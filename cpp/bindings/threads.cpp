// Threads in _core: how many, of which back end, and the libraries that may have others.
#include <pybind11/pybind11.h>

#include <string>

#include "../core/fork.hpp"
#include "../core/loaded_objects.hpp"
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

// A path as Python has it, whatever its bytes.
py::object path_text(const std::string& path) {
  PyObject* const text = PyUnicode_DecodeFSDefaultAndSize(path.data(), Py_ssize_t(path.size()));
  if (!text) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(text);
}

py::list loaded_paths() {
  py::list paths;
  for (const std::string& path : loaded_objects()) paths.append(path_text(path));
  return paths;
}

// The paths of the OpenMP runtimes for torch's arrays and for others; None: not the pool's concern.
py::tuple openmp_paths() {
#ifdef FASTOPTIM_THREADS
  const auto path = [](const ThreadBackend* team) -> py::object {
    return team ? path_text(openmp_path(team)) : py::none();
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
  m.def("loaded_objects", &loaded_paths);
  m.def("forked", &forked);
}

}  // namespace fastoptim
