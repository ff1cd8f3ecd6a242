#include "origin.hpp"

#include <cstdint>

#ifdef FASTOPTIM_THREADS
#include "../core/openmp.hpp"
#endif

namespace fastoptim {

#ifdef FASTOPTIM_THREADS
namespace {

// DLPack's structs, up to the function that releases the memory, which is the exporter's.
struct DlTensor {
  void* data;
  std::int32_t device_type, device_id, n_axes;
  std::uint8_t type_code, type_bits;
  std::uint16_t type_lanes;
  std::int64_t *shape, *strides;
  std::uint64_t byte_offset;
};
struct DlManagedTensor {
  DlTensor tensor;
  void* context;
  void (*release)(DlManagedTensor*);
};
struct DlManagedTensorVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*release)(DlManagedTensorVersioned*);
};

// What numpy.from_dlpack names the capsules that its arrays keep.
constexpr const char* numpy_dltensor = "numpy_dltensor";
constexpr const char* numpy_dltensor_versioned = "numpy_dltensor_versioned";

bool is_exported_by_torch(PyObject* capsule) {
  const void* release = nullptr;
  if (PyCapsule_IsValid(capsule, numpy_dltensor)) {
    const void* const tensor = PyCapsule_GetPointer(capsule, numpy_dltensor);
    release = reinterpret_cast<const void*>(static_cast<const DlManagedTensor*>(tensor)->release);
  } else if (PyCapsule_IsValid(capsule, numpy_dltensor_versioned)) {
    const void* const tensor = PyCapsule_GetPointer(capsule, numpy_dltensor_versioned);
    release = reinterpret_cast<const void*>(
        static_cast<const DlManagedTensorVersioned*>(tensor)->release);
  }
  return is_in_torch(release);
}

// The class torch.Tensor; null if nothing has imported torch.
py::object torch_tensor_type() {
  PyObject* const modules = PyImport_GetModuleDict();
  PyObject* const torch = PyDict_GetItemString(modules, "torch");
  return torch ? py::getattr(torch, "Tensor", py::object()) : py::object();
}

}  // namespace

Origin origin_of(const py::array& x) {
  PyObject* owner = header(x)->base;
  while (owner && py::isinstance<py::array>(owner)) owner = py::detail::array_proxy(owner)->base;
  if (!owner) return Origin::unknown;
  const py::object tensor_type = torch_tensor_type();
  if (!tensor_type || !PyType_Check(tensor_type.ptr()) || !find_torch_openmp())
    return Origin::unknown;
  const bool is_tensor =
      PyType_IsSubtype(Py_TYPE(owner), reinterpret_cast<PyTypeObject*>(tensor_type.ptr()));
  return is_tensor || is_exported_by_torch(owner) ? Origin::torch : Origin::unknown;
}
#else
Origin origin_of(const py::array&) { return Origin::unknown; }
#endif

}  // namespace fastoptim
