// Detects forks: locks and threads of the parent process are unusable in a forked child.
#pragma once

namespace fastoptim {

// The number of forks between the process that loaded this library and the calling one. State that
// another thread may own at a fork (a lock, a busy flag, the thread itself) is stored with this
// number: if the number has grown since, the owner does not exist in this process. A relaxed load,
// which is cheaper than getpid.
unsigned forks() noexcept;

// Whether the calling process is a forked child of the one that loaded this library.
inline bool forked() noexcept { return forks() > 0; }

}  // namespace fastoptim
