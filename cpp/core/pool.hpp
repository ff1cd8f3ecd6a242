// The built-in back end of parallel_for: a pool of threads with work stealing.
#pragma once

#include "parallel.hpp"

namespace fastoptim {

// The process's pool. Threads start when a job first needs them.
ThreadBackend& thread_pool() noexcept;

}  // namespace fastoptim
