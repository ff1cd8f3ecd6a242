// The borrowed back end of parallel_for: the team of an OpenMP runtime that another library has
// loaded. Nothing is linked or bundled: the runtime's functions are looked up at run time.
//
// Every runtime keeps the threads of its teams, which spin for some milliseconds after a parallel
// region. Where those threads are another library's, a step on threads of our own waits for a
// processor beside them; a step in the same team finds them running.
#pragma once

#include <string>

#include "parallel.hpp"

namespace fastoptim {

// The back end on the runtime that torch uses; null if torch is not loaded, or does not use OpenMP.
// Looks for it again at each call until it is found, since torch may be imported at any time. May
// throw std::bad_alloc.
ThreadBackend* find_torch_openmp();

// The same, but null until find_torch_openmp() has found it. As cheap as a load.
ThreadBackend* torch_openmp() noexcept;

// The back end on torch's runtime, else on the one that was loaded first, else, if `load`, on the
// system's, which it loads. Null if there is none. The first call that finds one decides for all
// later ones. May throw std::bad_alloc.
ThreadBackend* find_openmp(bool load);

// The same, but null until find_openmp() has found one.
ThreadBackend* openmp() noexcept;

// The names under which find_openmp() asks the system for a runtime, for messages.
std::string openmp_library_names();

// The path of a back end's runtime; empty for null.
std::string openmp_path(const ThreadBackend* team);

// Whether an address of code lies in torch.
bool is_in_torch(const void* address) noexcept;

}  // namespace fastoptim
