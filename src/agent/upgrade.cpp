// SPDX-License-Identifier: Apache-2.0
#include "agent/upgrade.hpp"

#include "base/log.hpp"
#include "datapath/datapath.hpp"
#include "runtime/child.hpp"
#include "runtime/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <boost/json.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

namespace culvert::agent {
namespace {

namespace json = boost::json;

constexpr const char* kLeft = "CULVERT_AGENT_HANDOVER";
constexpr std::chrono::seconds kExamination{60};
constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;
constexpr std::size_t kWordsShown = 500;

// Who may write the file, or put another in its place, decides what runs as root.
Status trusted(const std::filesystem::path& path) {
    struct stat facts{};
    if (::stat(path.c_str(), &facts) != 0) {
        return std::unexpected(error_from_errno(errno, fmt::format("upgrade: {}", path.string())));
    }
    const bool sticky = S_ISDIR(facts.st_mode) && (facts.st_mode & S_ISVTX) != 0;
    const bool ours = facts.st_uid == 0 || facts.st_uid == ::geteuid();
    if (!ours || ((facts.st_mode & kOthersWrite) != 0 && !sticky)) {
        return fail(Code::kPermissionDenied,
                    fmt::format("upgrade: {} can be written by others than root: 'chown root' and "
                                "'chmod go-w' it",
                                path.string()),
                    "binary");
    }
    return path == path.parent_path() ? Status() : trusted(path.parent_path());
}

std::vector<std::string> command_line() {
    const auto text = runtime::read_file("/proc/self/cmdline").value_or("");
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size();) {
        const auto end = std::min(text.find('\0', at), text.size());
        out.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return out;
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
    std::vector<char*> out;
    out.reserve(words.size() + 1);
    for (const auto& word : words) {
        out.push_back(const_cast<char*>(word.c_str()));
    }
    out.push_back(nullptr);
    return out;
}

bool same_file(int fd, const std::filesystem::path& path) {
    struct stat held{};
    struct stat there{};
    return ::fstat(fd, &held) == 0 && ::stat(path.c_str(), &there) == 0 &&
           held.st_dev == there.st_dev && held.st_ino == there.st_ino;
}

// Becomes `path`, or the program of `file` where another lies at the path now. `kept` stays open.
// Returns the errno of a failure.
int become(const std::filesystem::path& path, int file, const json::object& left, int kept) {
    auto argv = command_line();
    if (argv.empty()) {
        argv.emplace_back();
    }
    argv[0] = path.string();
    std::vector<std::string> environment;
    for (char** each = environ; *each != nullptr; ++each) {
        environment.emplace_back(*each);
    }
    environment.push_back(fmt::format("{}={}", kLeft, json::serialize(left)));
    const auto arguments = pointers(argv);
    const auto variables = pointers(environment);
    ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    if (kept >= 0) {
        ::fcntl(kept, F_SETFD, 0);
    }
    if (file < 0 || same_file(file, path)) {
        ::execve(path.c_str(), arguments.data(), variables.data());
    } else {
        ::fexecve(file, arguments.data(), variables.data());
    }
    const int why = errno;
    if (kept >= 0) {
        ::fcntl(kept, F_SETFD, FD_CLOEXEC);
    }
    return why;
}

std::string text_of(const json::object& from, std::string_view name) {
    const auto* found = from.if_contains(name);
    return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

json::object object_of(const std::string& text) {
    boost::system::error_code bad;
    auto parsed = json::parse(text, bad);
    return !bad && parsed.is_object() ? parsed.as_object() : json::object();
}

}  // namespace

const int kUpgradeSignal = SIGUSR2;

Upgrader::Upgrader(const RunOptions& options) : options_(options) {
    ::prctl(PR_SET_NAME, "culvert-agent");
    const char* left = std::getenv(kLeft);
    if (left == nullptr) {
        return;
    }
    const auto from = object_of(left);
    ::unsetenv(kLeft);
    state_.with([&](State& state) {
        if (const auto failed = text_of(from, "failed"); !failed.empty()) {
            state.outcome = {.text = failed, .failed = true};
            return;
        }
        const auto* file = from.if_contains("file");
        if (file == nullptr || !file->is_int64()) {
            return;
        }
        state.previous = {.file = runtime::Fd(static_cast<int>(file->get_int64())),
                          .path = text_of(from, "path"),
                          .build = text_of(from, "build")};
        ::fcntl(state.previous.file.get(), F_SETFD, FD_CLOEXEC);
    });
}

Result<Candidate> Upgrader::examine(const std::filesystem::path& binary) const {
    if (!binary.is_absolute()) {
        return fail(Code::kInvalidArgument,
                    fmt::format("upgrade: {} is no absolute path", binary.string()), "binary");
    }
    std::error_code error;
    const auto path = std::filesystem::canonical(binary, error);
    if (error) {
        return std::unexpected(
            error_from_errno(error.value(), fmt::format("upgrade: {}", binary.string())));
    }
    CULVERT_TRY_STATUS(trusted(path));
    const auto pins = std::filesystem::absolute(options_.pin_dir);
    const auto ran = runtime::run_child({path.string(), "check", "--pin", pins.string(), "--flows",
                                         fmt::format("{}", options_.flows)},
                                        kExamination);
    if (!ran) {
        return std::unexpected(prefixed(ran.error(), "upgrade"));
    }
    const auto said = object_of(ran->output);
    const auto* layout = said.if_contains("layout");
    if (ran->status != 0 || layout == nullptr || !layout->is_int64()) {
        return fail(Code::kConflict,
                    fmt::format("upgrade: '{} check' ended with {}: {}", path.string(), ran->status,
                                ran->words.substr(0, kWordsShown)),
                    "binary");
    }
    return Candidate{.binary = path,
                     .build = text_of(said, "build"),
                     .layout = static_cast<std::uint32_t>(layout->get_int64())};
}

void Upgrader::request(const Candidate& candidate) {
    state_.with([&](State& state) { state.requested = candidate; });
    ::kill(::getpid(), kUpgradeSignal);
}

std::optional<Candidate> Upgrader::requested() {
    return state_.with([](State& state) { return std::exchange(state.requested, std::nullopt); });
}

void Upgrader::hand_over(const Candidate& candidate) {
    std::error_code error;
    const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
    const runtime::Fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    spdlog::info("agent: becoming {} (build {}, layout {})", candidate.binary.string(),
                 candidate.build, candidate.layout);
    spdlog::default_logger()->flush();
    const json::object left{
        {"file", file.get()}, {"path", path.string()}, {"build", options_.build}};
    const int why = become(candidate.binary, -1, left, file.get());
    const auto text =
        error_from_errno(why, fmt::format("start {}", candidate.binary.string())).message;
    spdlog::error("agent: upgrade: {}", text);
    state_.with([&](State& state) { state.outcome = {.text = text, .failed = true}; });
}

Status Upgrader::go_back(Error why) {
    const auto previous = state_.with([](State& state) { return std::move(state.previous); });
    if (!previous.file) {
        return std::unexpected(std::move(why));
    }
    spdlog::error("agent: {}; going back to {}", why.message, previous.path.string());
    spdlog::default_logger()->flush();
    const auto failed = fmt::format("build {} could not start: {}", options_.build, why.message);
    const int error = become(previous.path, previous.file.get(), {{"failed", failed}}, -1);
    return std::unexpected(prefixed(std::move(why), error_from_errno(error, "go back").message));
}

void Upgrader::settle() {
    state_.with([&](State& state) {
        ++state.starts;
        if (state.previous.file) {
            state.outcome = {.text = fmt::format("from build {}", state.previous.build),
                             .failed = false};
            state.previous = {};
        }
    });
}

UpgradeOutcome Upgrader::outcome() const {
    return state_.with([](const State& state) { return state.outcome; });
}

std::string Upgrader::instance() const {
    static const auto began = std::chrono::system_clock::now().time_since_epoch().count();
    return state_.with(
        [](const State& state) { return fmt::format("{:x}-{}", began, state.starts); });
}

Status check(const CheckOptions& options) {
    datapath::LoadOptions load;
    load.pin_dir = options.pin_dir;
    load.sizes.flows = options.flows;
    CULVERT_TRY_STATUS(datapath::rehearse(load));
    const json::object out{{"build", options.build}, {"layout", datapath::layout_version()}};
    fmt::print("{}\n", json::serialize(out));
    return {};
}

}  // namespace culvert::agent
