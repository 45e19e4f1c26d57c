// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite_files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace culvert::store {

FileDescriptor::~FileDescriptor() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

Result<std::unique_ptr<FileDescriptor>> lock_database(const std::string& path) {
    const std::string lock = path + ".lock";
    auto held = std::make_unique<FileDescriptor>(
        ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (held->get() < 0) {
        return std::unexpected(error_from_errno(errno, "open store: " + lock));
    }
    if (::flock(held->get(), LOCK_EX | LOCK_NB) != 0) {
        return fail(Code::kUnavailable, "open store: another process uses " + path);
    }
    return held;
}

Status make_private(const std::string& path, bool fresh) {
    const int extra = fresh ? O_EXCL : 0;
    const FileDescriptor file(
        ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | extra, 0600));
    struct stat about{};
    if (file.get() < 0 || ::fstat(file.get(), &about) != 0) {
        return std::unexpected(error_from_errno(errno, "open store: " + path));
    }
    if (!S_ISREG(about.st_mode)) {
        return fail(Code::kCorrupt, "open store: not a regular file: " + path);
    }
    if ((about.st_mode & 0077) != 0 && ::fchmod(file.get(), 0600) != 0) {
        return std::unexpected(error_from_errno(errno, "open store: " + path));
    }
    return {};
}

std::uint64_t free_bytes(const std::string& path) {
    struct statvfs about{};
    return ::statvfs(path.c_str(), &about) == 0
               ? static_cast<std::uint64_t>(about.f_bavail) * about.f_frsize
               : 0;
}

std::string directory_of(const std::string& path) {
    const auto parent = std::filesystem::path(path).parent_path();
    return parent.empty() ? "." : parent.string();
}

Status sync_directory_of(const std::string& path) {
    const std::string directory = directory_of(path);
    const FileDescriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0 || ::fsync(fd.get()) != 0) {
        return std::unexpected(error_from_errno(errno, "sync " + directory));
    }
    return {};
}

}  // namespace culvert::store
