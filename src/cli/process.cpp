// SPDX-License-Identifier: Apache-2.0
#include "cli/process.hpp"

#include "cli/settings.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <thread>

namespace culvert::cli {
namespace {

using namespace std::chrono_literals;

// Between fork and execve: only async-signal-safe calls. `report` tells the parent an errno.
[[noreturn]] void become(const std::vector<char*>& argv, int log_fd, bool own_session, pid_t parent,
                         int report) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (own_session) {
        setsid();
        const int nothing = ::open("/dev/null", O_RDONLY);
        if (nothing >= 0) {
            dup2(nothing, STDIN_FILENO);
        }
    } else {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) {  // it died before the request took hold
            _exit(1);
        }
    }
    if (log_fd >= 0) {
        dup2(log_fd, STDOUT_FILENO);
        dup2(log_fd, STDERR_FILENO);
    }
    // a daemon that kept the caller's pipe open would keep its reader waiting
    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    execv(argv[0], argv.data());
    const int why = errno;
    [[maybe_unused]] const auto wrote = ::write(report, &why, sizeof why);
    _exit(127);
}

}  // namespace

std::optional<ProcessId> identify(pid_t pid) {
    auto stat = read_file(fmt::format("/proc/{}/stat", pid));
    if (!stat) {
        return std::nullopt;
    }
    // the command in parentheses may hold anything: fields are counted from its end
    const auto after = stat->rfind(')');
    if (after == std::string::npos) {
        return std::nullopt;
    }
    std::istringstream fields(stat->substr(after + 1));
    std::string field;
    std::uint64_t started = 0;
    for (int number = 3; number <= 22 && fields >> field; ++number) {
        if (number == 3 && (field == "Z" || field == "X")) {
            return std::nullopt;
        }
        if (number == 22) {
            started = std::strtoull(field.c_str(), nullptr, 10);
        }
    }
    return ProcessId{pid, started};
}

bool is_running(const ProcessId& process) { return identify(process.pid) == process; }

std::optional<ProcessId> running_from(const std::filesystem::path& pid_file) {
    auto text = read_file(pid_file);
    if (!text) {
        return std::nullopt;
    }
    std::istringstream in(*text);
    ProcessId process;
    if (!(in >> process.pid >> process.started) || process.pid <= 1 || !is_running(process)) {
        return std::nullopt;
    }
    return process;
}

Status write_pid_file(const std::filesystem::path& pid_file, const ProcessId& process) {
    return write_private_file(pid_file, fmt::format("{} {}\n", process.pid, process.started));
}

Result<ProcessId> spawn(const SpawnOptions& options) {
    const auto doing = fmt::format("start {}", options.argv.at(0));
    std::vector<char*> argv;
    argv.reserve(options.argv.size() + 1);
    for (const auto& argument : options.argv) {
        argv.push_back(const_cast<char*>(argument.c_str()));  // execv does not write to it
    }
    argv.push_back(nullptr);

    int log_fd = -1;
    if (!options.log.empty()) {
        log_fd = ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (log_fd < 0) {
            return std::unexpected(
                error_from_errno(errno, fmt::format("open {}", options.log.string())));
        }
    }
    int report[2] = {-1, -1};
    if (pipe2(report, O_CLOEXEC) != 0) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
        become(argv, log_fd, options.own_session, parent, report[1]);
    }
    const int fork_error = errno;
    ::close(report[1]);
    if (log_fd >= 0) {
        ::close(log_fd);
    }
    int why = pid < 0 ? fork_error : 0;
    if (pid > 0 && ::read(report[0], &why, sizeof why) == sizeof why) {
        waitpid(pid, nullptr, 0);
    }
    ::close(report[0]);
    if (why != 0) {
        return std::unexpected(error_from_errno(why, doing));
    }
    return identify(pid).value_or(ProcessId{pid, 0});
}

Result<int> run_to_end(const SpawnOptions& options) {
    auto child = spawn(options);
    if (!child) {
        return std::unexpected(child.error());
    }
    int status = 0;
    while (waitpid(child->pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return std::unexpected(error_from_errno(errno, "wait for " + options.argv.at(0)));
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::optional<int> exit_status(const ProcessId& process) {
    int status = 0;
    if (waitpid(process.pid, &status, WNOHANG) == process.pid) {
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return std::nullopt;
}

Status stop(const ProcessId& process, std::chrono::milliseconds patience) {
    const auto gone = [&process] {
        waitpid(process.pid, nullptr, WNOHANG);  // reaps it where it is a child of ours
        return !is_running(process);
    };
    for (const int signal : {SIGTERM, SIGKILL}) {
        if (gone()) {
            return {};
        }
        if (::kill(process.pid, signal) != 0 && errno != ESRCH) {
            return std::unexpected(
                error_from_errno(errno, fmt::format("stop process {}", process.pid)));
        }
        for (auto waited = 0ms; waited < patience; waited += 20ms) {
            if (gone()) {
                return {};
            }
            std::this_thread::sleep_for(20ms);
        }
    }
    return fail(Code::kTimeout, fmt::format("stop process {}: it does not end", process.pid));
}

Result<std::filesystem::path> find_program(const std::string& name) {
    std::error_code bad;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", bad);
    if (!bad && ::access((self.parent_path() / name).c_str(), X_OK) == 0) {
        return self.parent_path() / name;
    }
    const char* path = std::getenv("PATH");
    std::istringstream folders(path == nullptr ? "/usr/sbin:/usr/bin" : path);
    for (std::string folder; std::getline(folders, folder, ':');) {
        auto candidate = std::filesystem::path(folder) / name;
        if (::access(candidate.c_str(), X_OK) == 0) {
            return candidate;
        }
    }
    return fail(Code::kUnavailable,
                fmt::format("find {}: not beside {} and not in PATH; install it in one of them",
                            name, self.string()));
}

}  // namespace culvert::cli
