// SPDX-License-Identifier: Apache-2.0
// Whole files, bounded in size.
#pragma once

#include "base/result.hpp"

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace culvert::runtime {

// The content of a file of at most `limit` bytes. Errors: kNotFound, kPermissionDenied, kTooLarge.
Result<std::string> read_file(const std::filesystem::path& path,
                              std::size_t limit = std::size_t{16} * 1024 * 1024);

// What the new content is to outlive for sure.
enum class Outlives { kMachine, kProcess };

// Replaces the file at once: a temporary file beside it, fsync, rename, fsync of the directory;
// no fsync where it is to outlive the process alone. `mode` are its permission bits from the first
// moment on.
Status replace_file(const std::filesystem::path& path, std::string_view content, mode_t mode,
                    Outlives outlives = Outlives::kMachine);

// Removes what replace_file() left in a directory when it was killed: for who alone writes there,
// before it does.
void remove_unfinished(const std::filesystem::path& directory);

// Makes a directory and its parents; the last one gets `mode`, also when it exists already.
Status make_directory(const std::filesystem::path& path, mode_t mode);

// Writes everything, whatever signals come between.
Status write_all(int fd, std::string_view content);

}  // namespace culvert::runtime
