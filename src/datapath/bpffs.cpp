// SPDX-License-Identifier: Apache-2.0
#include "datapath/bpffs.hpp"

#include "runtime/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>

namespace culvert::datapath {
namespace {

constexpr const char* kSystemBpffs = "/sys/fs/bpf";
constexpr mode_t kPrivate = 0700;

bool on_bpffs(const std::filesystem::path& path) {
    struct statfs filesystem{};
    return ::statfs(path.c_str(), &filesystem) == 0 && filesystem.f_type == BPF_FS_MAGIC;
}

// A directory whose device differs from its parent's is where something is mounted.
bool is_mount_point(const std::filesystem::path& path) {
    struct stat here{};
    struct stat above{};
    return ::stat(path.c_str(), &here) == 0 && ::stat((path / "..").c_str(), &above) == 0 &&
           here.st_dev != above.st_dev;
}

Status mount_bpffs(const std::filesystem::path& path) {
    if (::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
        return std::unexpected(
            error_from_errno(errno, fmt::format("mount a bpffs on {}", path.string())));
    }
    return {};
}

bool below(const std::filesystem::path& path, const std::filesystem::path& parent) {
    const auto relative = path.lexically_normal().lexically_relative(parent);
    return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

Result<runtime::Fd> prepare_pin_directory(const std::filesystem::path& directory) {
    if (below(directory, kSystemBpffs) && !on_bpffs(kSystemBpffs)) {
        if (auto mounted = mount_bpffs(kSystemBpffs); !mounted) {
            return std::unexpected(std::move(mounted.error()));
        }
    }
    if (auto made = runtime::make_directory(directory, kPrivate); !made) {
        return std::unexpected(std::move(made.error()));
    }
    if (!on_bpffs(directory)) {
        if (auto mounted = mount_bpffs(directory); !mounted) {
            return std::unexpected(std::move(mounted.error()));
        }
    }
    runtime::Fd lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto doing = fmt::format("lock {}", directory.string());
    if (!lock) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return fail(Code::kConflict, fmt::format("{}: another agent uses it", doing));
        }
        return std::unexpected(error_from_errno(errno, doing));
    }
    return lock;
}

Status remove_pin_directory(const std::filesystem::path& directory) {
    if (!on_bpffs(directory)) {
        return {};  // never mounted, or gone with a reboot
    }
    std::error_code error;
    if (is_mount_point(directory)) {
        for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
            std::filesystem::remove_all(entry.path(), error);
        }
        if (::umount2(directory.c_str(), MNT_DETACH) != 0) {
            return std::unexpected(
                error_from_errno(errno, fmt::format("unmount {}", directory.string())));
        }
    }
    std::filesystem::remove_all(directory, error);
    if (error) {
        return std::unexpected(
            error_from_errno(error.value(), fmt::format("remove {}", directory.string())));
    }
    return {};
}

}  // namespace culvert::datapath
