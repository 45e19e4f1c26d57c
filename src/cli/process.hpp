// SPDX-License-Identifier: Apache-2.0
// Processes that this command starts and stops, known by pid and start time together, so that a
// re-used pid is never taken for them.
#pragma once

#include "base/result.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace culvert::cli {

struct ProcessId {
    pid_t pid = 0;
    std::uint64_t started = 0;  // clock ticks since boot, /proc/PID/stat field 22 (proc(5))

    bool operator==(const ProcessId&) const = default;
};

// nullopt: no such process, or a zombie.
std::optional<ProcessId> identify(pid_t pid);
bool is_running(const ProcessId& process);

// The process that a pid file names, if that very process still runs.
std::optional<ProcessId> running_from(const std::filesystem::path& pid_file);
Status write_pid_file(const std::filesystem::path& pid_file, const ProcessId& process);

struct SpawnOptions {
    std::vector<std::string> argv;  // argv[0] is the path of the program
    std::filesystem::path log;      // standard output and error are appended; empty: ours
    bool own_session = false;       // outlives us and our terminal
};

// The child stands in a process group of its own: a Ctrl-C reaches us, not it. Without own_session
// it is asked to stop when we die. Errors: as fork and execve.
Result<ProcessId> spawn(const SpawnOptions& options);

// Runs a program to its end and returns its exit status (128 + signal when it was killed).
Result<int> run_to_end(const SpawnOptions& options);

// SIGTERM, then SIGKILL after `patience`. Returns when the process is gone.
Status stop(const ProcessId& process, std::chrono::milliseconds patience);

// The exit status of a child of ours, if it has ended.
std::optional<int> exit_status(const ProcessId& process);

// The program of that name beside the running one, else the first in PATH.
Result<std::filesystem::path> find_program(const std::string& name);

}  // namespace culvert::cli
