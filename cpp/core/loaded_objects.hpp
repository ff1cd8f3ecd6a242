// The shared objects that the process has loaded.
#pragma once

#include <string>
#include <vector>

namespace fastoptim {

// Paths, in the order in which they were loaded. May throw std::bad_alloc.
std::vector<std::string> loaded_objects();

// The last component of a path.
std::string file_name(const std::string& path);

// Whether two addresses of code lie in the same shared object.
bool in_one_object(const void* a, const void* b) noexcept;

// The path of the shared object that holds an address; empty if there is none.
std::string object_of(const void* address);

}  // namespace fastoptim
