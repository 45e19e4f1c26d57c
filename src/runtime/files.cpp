// SPDX-License-Identifier: Apache-2.0
#include "runtime/files.hpp"

#include "runtime/fd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

namespace culvert::runtime {
namespace {

constexpr std::string_view kUnfinished = ".unfinished-";

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) {
        return std::unexpected(error_from_errno(errno, fmt::format("open {}", path.string())));
    }
    std::string content;
    std::array<char, 65536> chunk{};
    while (true) {
        const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return std::unexpected(error_from_errno(errno, fmt::format("read {}", path.string())));
        }
        if (got == 0) {
            return content;
        }
        content.append(chunk.data(), static_cast<std::size_t>(got));
        if (content.size() > limit) {
            return fail(Code::kTooLarge,
                        fmt::format("read {}: larger than {} bytes", path.string(), limit));
        }
    }
}

Status write_all(int fd, std::string_view content) {
    while (!content.empty()) {
        const ssize_t put = ::write(fd, content.data(), content.size());
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return std::unexpected(error_from_errno(errno, "write"));
        }
        content.remove_prefix(static_cast<std::size_t>(put));
    }
    return {};
}

Status replace_file(const std::filesystem::path& path, std::string_view content, mode_t mode,
                    Outlives outlives) {
    const std::string doing = fmt::format("replace {}", path.string());
    std::string name = fmt::format("{}{}XXXXXX", path.string(), kUnfinished);
    const Fd fd(::mkostemp(name.data(), O_CLOEXEC));
    if (!fd) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    const auto give_up = [&](Error error) {
        ::unlink(name.c_str());
        return std::unexpected(prefixed(std::move(error), doing));
    };
    if (::fchmod(fd.get(), mode) != 0) {
        return give_up(error_from_errno(errno, "set mode"));
    }
    if (auto written = write_all(fd.get(), content); !written) {
        return give_up(std::move(written.error()));
    }
    const bool sync = outlives == Outlives::kMachine;
    if (sync && ::fsync(fd.get()) != 0) {
        return give_up(error_from_errno(errno, "fsync"));
    }
    if (::rename(name.c_str(), path.c_str()) != 0) {
        return give_up(error_from_errno(errno, "rename"));
    }
    if (!sync) {
        return {};
    }
    const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
    const Fd directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory || ::fsync(directory.get()) != 0) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    return {};
}

Status make_directory(const std::filesystem::path& path, mode_t mode) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) {
        return std::unexpected(
            error_from_errno(error.value(), fmt::format("make directory {}", path.string())));
    }
    if (::chmod(path.c_str(), mode) != 0) {
        return std::unexpected(
            error_from_errno(errno, fmt::format("make directory {}", path.string())));
    }
    return {};
}

void remove_unfinished(const std::filesystem::path& directory) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
        if (entry.path().filename().string().contains(kUnfinished)) {
            ::unlink(entry.path().c_str());
        }
    }
}

}  // namespace culvert::runtime
