// SPDX-License-Identifier: Apache-2.0
// Where pins live: a directory on a bpffs, locked against a second agent.
#pragma once

#include "base/result.hpp"
#include "runtime/fd.hpp"

#include <filesystem>

namespace culvert::datapath {

// Makes `directory` on a bpffs and locks it (flock on the directory; released with the Fd).
// Errors: kPermissionDenied, kConflict when another process holds it.
Result<runtime::Fd> prepare_pin_directory(const std::filesystem::path& directory);

// Removes the directory's content, and its mount when it is a mount point itself.
Status remove_pin_directory(const std::filesystem::path& directory);

}  // namespace culvert::datapath
