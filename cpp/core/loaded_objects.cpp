#include "loaded_objects.hpp"

#include <dlfcn.h>

#if defined(__APPLE__)
#include <mach-o/dyld.h>
#else
#include <link.h>
#endif

#include <new>

namespace fastoptim {

std::vector<std::string> loaded_objects() {
  std::vector<std::string> paths;
#if defined(__APPLE__)
  for (std::uint32_t k = 0; k < _dyld_image_count(); ++k)
    if (const char* const path = _dyld_get_image_name(k)) paths.emplace_back(path);
#else
  // The callback must not throw through the loader, which holds a lock.
  const auto add = [](dl_phdr_info* object, std::size_t, void* list) noexcept {
    try {
      static_cast<std::vector<std::string>*>(list)->emplace_back(object->dlpi_name);
    } catch (const std::bad_alloc&) {
      return 1;
    }
    return 0;
  };
  if (dl_iterate_phdr(add, &paths) != 0) throw std::bad_alloc();
#endif
  return paths;
}

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool in_one_object(const void* a, const void* b) noexcept {
  Dl_info of_a, of_b;
  return a && b && dladdr(a, &of_a) && dladdr(b, &of_b) && of_a.dli_fbase == of_b.dli_fbase;
}

std::string object_of(const void* address) {
  Dl_info info;
  return address && dladdr(address, &info) && info.dli_fname ? info.dli_fname : "";
}

}  // namespace fastoptim
