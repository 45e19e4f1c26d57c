// SPDX-License-Identifier: Apache-2.0
#include "cli/checks.hpp"
#include "cli/process.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <sstream>

namespace culvert::cli {
namespace {

constexpr rlim_t kFilesWanted =
    8192;  // 2,048 API connections, node streams, maps and the store, with room
constexpr std::time_t kOldestSaneClock =
    1735689600;  // 2025-01-01: certificates made before it are not valid
// linux/capability.h
constexpr int kCapNetAdmin = 12;
constexpr int kCapSysAdmin = 21;
constexpr int kCapBpf = 39;

Check rights_check() {
    auto text = read_file("/proc/self/status");
    std::uint64_t effective = 0;
    std::istringstream lines(text.value_or(""));
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("CapEff:")) {
            effective = std::strtoull(line.c_str() + 7, nullptr, 16);
        }
    }
    std::string missing;
    for (const auto& [name, bit] : {std::pair{"CAP_NET_ADMIN", kCapNetAdmin},
                                    {"CAP_SYS_ADMIN", kCapSysAdmin},
                                    {"CAP_BPF", kCapBpf}}) {
        if ((effective >> bit & 1) == 0) {
            missing += (missing.empty() ? "" : ", ") + std::string(name);
        }
    }
    if (missing.empty()) {
        return {"rights", Verdict::kOk, "CAP_NET_ADMIN, CAP_SYS_ADMIN and CAP_BPF", ""};
    }
    return {
        "rights", Verdict::kFail, "missing: " + missing,
        "run `culvert up` and `culvert doctor` as root; the control plane alone needs no rights"};
}

Check files_check() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= kFilesWanted) {
        return {"open files", Verdict::kOk, fmt::format("limit {}", limit.rlim_cur), ""};
    }
    const Verdict verdict = limit.rlim_max >= kFilesWanted ? Verdict::kOk : Verdict::kWarn;
    return {"open files", verdict,
            fmt::format("limit {} (hard limit {})", limit.rlim_cur, limit.rlim_max),
            fmt::format("ulimit -n {0}, or LimitNOFILE={0} in the service's unit", kFilesWanted)};
}

Check memlock_check() {
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    // since 5.11 BPF memory counts against the control group, not this limit
    return {"locked memory", Verdict::kOk,
            limit.rlim_cur == RLIM_INFINITY
                ? "unlimited"
                : fmt::format("limit {} bytes, which BPF maps do not count against since 5.11",
                              limit.rlim_cur),
            ""};
}

Check clock_check() {
    if (std::time(nullptr) < kOldestSaneClock) {
        return {"clock", Verdict::kFail, "before 2025: certificates and tokens would not be valid",
                "set the time: timedatectl set-ntp true, or date -s"};
    }
    timex state{};
    const int condition = ::adjtimex(&state);
    if (condition == TIME_ERROR || (static_cast<unsigned>(state.status) & STA_UNSYNC) != 0) {
        return {"clock", Verdict::kWarn,
                "not synchronized: nodes reject certificates and tokens when clocks drift apart",
                "apt-get install chrony, or timedatectl set-ntp true"};
    }
    return {"clock", Verdict::kOk,
            fmt::format("synchronized, estimated error {} us", state.esterror), ""};
}

Check programs_check() {
    std::string missing;
    for (const auto* name : {"culvertd", "culvert-agent"}) {
        if (!find_program(name)) {
            missing += (missing.empty() ? "" : ", ") + std::string(name);
        }
    }
    if (missing.empty()) {
        return {"programs", Verdict::kOk, "culvertd and culvert-agent found", ""};
    }
    return {"programs", Verdict::kFail, "not found: " + missing,
            "install them beside culvert, or add their folder to PATH"};
}

Check data_check(const Settings& settings) {
    std::error_code bad;
    auto at = settings.data_dir;
    while (!std::filesystem::exists(at, bad) && at.has_parent_path() && at != at.parent_path()) {
        at = at.parent_path();
    }
    const auto space = std::filesystem::space(at, bad);
    const bool writable = ::access(at.c_str(), W_OK) == 0;
    const auto found =
        fmt::format("{}, {} MiB free", settings.data_dir.string(), space.available >> 20U);
    if (!writable) {
        return {"data directory", Verdict::kFail, fmt::format("{} cannot be written", at.string()),
                "run as root or give another with --data-dir"};
    }
    return {"data directory", Verdict::kOk, found, ""};
}

}  // namespace

std::vector<Check> machine_checks(const Settings& settings, const DoctorOptions&) {
    return {files_check(),  memlock_check(),  clock_check(),
            rights_check(), programs_check(), data_check(settings)};
}

}  // namespace culvert::cli
