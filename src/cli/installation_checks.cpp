// SPDX-License-Identifier: Apache-2.0
// What an installation on this machine has to keep an eye on: certificates, clocks, room.
#include "cli/checks.hpp"
#include "cli/local.hpp"
#include "cli/session.hpp"
#include "runtime/openssl.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>
#include <optional>
#include <set>

namespace culvert::cli {
namespace {

namespace fs = std::filesystem;

constexpr long kWarnDays = 14;
constexpr double kSkewWarn = 5;   // seconds
constexpr double kSkewFail = 60;  // what certificates and tokens bear is 300
constexpr std::uintmax_t kLeastRoom = std::uintmax_t{256} << 20U;
constexpr std::chrono::milliseconds kAskFor{3000};

std::optional<std::time_t> end_of(const std::string& pem) {
    const auto certificate = runtime::certificate_of(pem);
    const auto end =
        certificate ? runtime::time_of(X509_get0_notAfter(certificate.get())) : WallTime();
    if (end == WallTime()) {
        return std::nullopt;
    }
    return WallTime::clock::to_time_t(end);
}

Check certificate_check(const std::string& name, const fs::path& file, const std::string& remedy) {
    auto pem = read_file(file);
    const auto end = pem ? end_of(*pem) : std::nullopt;
    if (!end) {
        return {name, Verdict::kFail, fmt::format("{} cannot be read", file.string()),
                "run as root; if it is damaged: " + remedy};
    }
    const long days = (*end - std::time(nullptr)) / 86400;
    if (*end < std::time(nullptr)) {
        return {name, Verdict::kFail, fmt::format("{} has ended", file.string()), remedy};
    }
    return {name, days < kWarnDays ? Verdict::kWarn : Verdict::kOk,
            fmt::format("valid for {} more days", days), days < kWarnDays ? remedy : ""};
}

std::vector<Check> certificate_checks(const Settings& settings) {
    std::error_code bad;
    const Layout layout{settings.data_dir};
    std::vector<Check> out;
    for (const auto& folder : {layout.agent(), settings.data_dir}) {
        if (fs::exists(folder / "node.pem", bad)) {
            out.push_back(certificate_check(
                "node certificate", folder / "node.pem",
                "it renews itself while the agent reaches culvertd: see the agent's log; once it "
                "has ended, join again (docs/nodes.md)"));
        }
    }
    if (fs::exists(layout.ca(), bad)) {
        out.push_back(certificate_check("certificate authority", layout.ca(), "culvert ca rotate"));
        out.push_back(certificate_check("server certificate", layout.control() / "server.crt",
                                        "it renews itself while culvertd runs: see its log"));
    }
    return out;
}

// RFC 9110 5.6.7
std::optional<std::time_t> time_of(std::string_view date) {
    std::tm parts{};
    const std::string text(date);
    const char* rest = strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    return rest == nullptr || *rest != '\0' ? std::nullopt : std::optional(timegm(&parts));
}

// Nothing where no culvertd is known.
std::vector<Check> skew_check(const Settings& settings) {
    auto credentials = find_credentials(settings);
    if (!credentials) {
        return {};
    }
    auto session = Session::open(*credentials, kAskFor);
    const auto answer =
        session ? (*session)->send_plain("GET", "/healthz") : std::unexpected(session.error());
    if (!answer) {
        return {
            {"clock skew", Verdict::kWarn,
             fmt::format("{} does not answer: {}", credentials->control, answer.error().message),
             "start culvertd, or name another with --control"}};
    }
    const auto theirs = time_of(http::find_header(answer->headers, "date"));
    if (!theirs) {
        return {{"clock skew", Verdict::kWarn, "culvertd says no time", "upgrade culvertd"}};
    }
    const double apart = std::abs(std::difftime(std::time(nullptr), *theirs));
    const Verdict verdict = apart > kSkewFail   ? Verdict::kFail
                            : apart > kSkewWarn ? Verdict::kWarn
                                                : Verdict::kOk;
    return {{"clock skew", verdict, fmt::format("{:.0f} s from culvertd's clock", apart),
             verdict == Verdict::kOk
                 ? ""
                 : "synchronize both: apt-get install chrony, or timedatectl set-ntp true"}};
}

// Nothing where no agent answers.
std::vector<Check> probe_checks(const Settings& settings) {
    auto agent = connect_agent(agent_socket(settings.data_dir));
    const auto known = agent ? (*agent)->backends() : std::unexpected(agent.error());
    if (!known) {
        return {};
    }
    if (const std::string why = known->error.empty() ? known->note_error : known->error;
        !why.empty()) {
        return {{"probes", Verdict::kFail, why,
                 "see the agent's log; backends keep the verdict that they had last"}};
    }
    const auto down = std::ranges::count_if(
        known->backends, [](const LocalBackend& one) { return one.here && one.state != "up"; });
    return {{"probes", down == 0 ? Verdict::kOk : Verdict::kWarn,
             fmt::format("{} backends known, {} of those here are not up", known->backends.size(),
                         down),
             down == 0 ? "" : "culvert backends says which, and what their last probe said"}};
}

// Each file system once.
std::vector<Check> room_checks(const Settings& settings) {
    const Layout layout{settings.data_dir};
    std::vector<Check> out;
    std::set<dev_t> seen;
    for (const auto& folder : {layout.root, layout.control(), layout.agent(), layout.logs()}) {
        struct stat about{};
        if (::stat(folder.c_str(), &about) != 0 || !seen.insert(about.st_dev).second) {
            continue;
        }
        std::error_code bad;
        const auto room = fs::space(folder, bad);
        const auto found = fmt::format("{}: {} MiB free", folder.string(), room.available >> 20U);
        const bool little = bad || room.available < kLeastRoom;
        out.push_back({"disk space", little ? Verdict::kWarn : Verdict::kOk, found,
                       little ? "make room: the store refuses writes on a full disk" : ""});
    }
    return out;
}

}  // namespace

std::vector<Check> installation_checks(const Settings& settings, const DoctorOptions&) {
    auto out = certificate_checks(settings);
    for (auto& more : {skew_check(settings), room_checks(settings), probe_checks(settings)}) {
        out.insert(out.end(), more.begin(), more.end());
    }
    return out;
}

}  // namespace culvert::cli
