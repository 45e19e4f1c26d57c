// SPDX-License-Identifier: Apache-2.0
// The files around a SQLite database: the lock that makes one process its owner, modes, free space.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace culvert::store {

// An open file; closed when it goes.
class FileDescriptor {
  public:
    explicit FileDescriptor(int fd) : fd_(fd) {}
    ~FileDescriptor();
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};

// Watches live in the process that writes, so a file has one process. The lock is a file of its
// own: closing a second descriptor of the database would drop SQLite's own POSIX locks. Errors:
// kUnavailable while another process has it.
Result<std::unique_ptr<FileDescriptor>> lock_database(const std::string& path);

// SQLite would create the file with the umask's mode; the WAL and the index take the file's mode.
// With `fresh` it must not exist yet (kConflict).
Status make_private(const std::string& path, bool fresh = false);

// Bytes that the file system of `path` has left; 0 when it cannot be asked.
std::uint64_t free_bytes(const std::string& path);
std::string directory_of(const std::string& path);

// Makes what was done to the names in the directory of `path` durable.
Status sync_directory_of(const std::string& path);

}  // namespace culvert::store
