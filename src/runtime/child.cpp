// SPDX-License-Identifier: Apache-2.0
#include "runtime/child.hpp"

#include "runtime/fd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>

namespace culvert::runtime {
namespace {

constexpr std::size_t kMostBytes = std::size_t{64} * 1024;
constexpr int kSignalled = 128;

struct Pipe {
    Fd read;
    Fd write;
};

Result<Pipe> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return std::unexpected(error_from_errno(errno, "make a pipe"));
    }
    return Pipe{.read = Fd(ends[0]), .write = Fd(ends[1])};
}

Result<pid_t> start(const std::vector<std::string>& argv, int out, int words) {
    std::vector<char*> pointers;
    pointers.reserve(argv.size() + 1);
    for (const auto& word : argv) {
        pointers.push_back(const_cast<char*>(word.c_str()));
    }
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t actions{};
    posix_spawnattr_t attributes{};
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, words, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    pid_t pid = 0;
    const int error =
        posix_spawn(&pid, pointers[0], &actions, &attributes, pointers.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
        return std::unexpected(error_from_errno(error, fmt::format("start {}", argv[0])));
    }
    return pid;
}

// Reads what is there; false at the end.
bool drain(int fd, std::string& into) {
    std::array<char, 4096> buffer{};
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0) {
        return errno == EINTR;
    }
    const auto room = kMostBytes - std::min(kMostBytes, into.size());
    into.append(buffer.data(), std::min(room, static_cast<std::size_t>(got)));
    return got > 0;
}

}  // namespace

Result<ChildResult> run_child(const std::vector<std::string>& argv,
                              std::chrono::milliseconds patience) {
    auto out = make_pipe();
    auto words = make_pipe();
    if (!out || !words) {
        return std::unexpected(out ? words.error() : out.error());
    }
    const auto pid = start(argv, out->write.get(), words->write.get());
    if (!pid) {
        return std::unexpected(pid.error());
    }
    out->write.reset();
    words->write.reset();
    const auto deadline = std::chrono::steady_clock::now() + patience;
    ChildResult result;
    std::array<pollfd, 2> waited{pollfd{.fd = out->read.get(), .events = POLLIN, .revents = 0},
                                 pollfd{.fd = words->read.get(), .events = POLLIN, .revents = 0}};
    bool late = false;
    while (!late && (waited[0].fd >= 0 || waited[1].fd >= 0)) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        late = left.count() <= 0 ||
               ::poll(waited.data(), waited.size(), static_cast<int>(left.count())) == 0;
        for (std::size_t at = 0; at < waited.size() && !late; ++at) {
            auto& into = at == 0 ? result.output : result.words;
            if (waited[at].revents != 0 && !drain(waited[at].fd, into)) {
                waited[at].fd = -1;
            }
        }
    }
    if (late) {
        ::kill(*pid, SIGKILL);
    }
    int status = 0;
    while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (late) {
        return fail(Code::kTimeout,
                    fmt::format("run {}: not done after {} ms", argv[0], patience.count()));
    }
    result.status = WIFSIGNALED(status) ? kSignalled + WTERMSIG(status) : WEXITSTATUS(status);
    return result;
}

}  // namespace culvert::runtime
