// SPDX-License-Identifier: Apache-2.0
#include "cli/installation.hpp"

#include "cli/session.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <unistd.h>
#include <boost/json.hpp>

#include <array>
#include <cerrno>
#include <memory>
#include <sstream>

namespace culvert::cli {

// whoever holds the port may never answer
constexpr std::chrono::milliseconds kMetadata{2000};

InstallationLock::~InstallationLock() { release(); }

Status InstallationLock::take(const Layout& layout) {
    const auto doing = fmt::format("lock {}", layout.root.string());
    fd_ = ::open(layout.lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd_ < 0) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
        const int why = errno;
        release();
        if (why == EWOULDBLOCK) {
            return fail(
                Code::kConflict,
                doing + ": another `culvert up` or `culvert down` is at work here; wait for it");
        }
        return std::unexpected(error_from_errno(why, doing));
    }
    return {};
}

void InstallationLock::release() {
    if (fd_ >= 0) {
        ::close(fd_);
        fd_ = -1;
    }
}

std::string url_of(const std::string& listen) {
    const auto colon = listen.rfind(':');
    const auto host = listen.substr(0, colon);
    const auto port = colon == std::string::npos ? "" : listen.substr(colon);
    return "https://" + (host == "0.0.0.0" || host.empty() ? "127.0.0.1" : host) + port;
}

std::string host_name() {
    std::array<char, 256> name{};
    return ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data()
                                                                               : "node1";
}

Result<std::string> address_of(const std::string& ifname) {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) {
        return std::unexpected(error_from_errno(errno, "list interfaces"));
    }
    const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, &freeifaddrs);
    for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
        if (at->ifa_addr != nullptr && at->ifa_addr->sa_family == AF_INET &&
            ifname == at->ifa_name) {
            const auto* address = reinterpret_cast<const sockaddr_in*>(at->ifa_addr);
            std::array<char, INET_ADDRSTRLEN> text{};
            ::inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size());
            return std::string(text.data());
        }
    }
    return fail(
        Code::kNotFound,
        fmt::format("the backbone interface {} does not exist or has no IPv4 address; give one "
                    "to it, or name the address with --outer",
                    ifname),
        "--backbone");
}

std::string tail_of(const std::filesystem::path& log, std::size_t lines) {
    auto text = read_file(log);
    if (!text) {
        return "";
    }
    std::size_t at = text->size();
    for (std::size_t seen = 0; at > 0 && seen <= lines; --at) {
        seen += (*text)[at - 1] == '\n' ? 1 : 0;
        if (seen > lines) {
            break;
        }
    }
    return text->substr(at);
}

std::vector<std::string> control_arguments(const std::string& program, const Layout& layout,
                                           const UpOptions& options) {
    std::vector<std::string> out = {program,
                                    "--data-dir",
                                    layout.control().string(),
                                    "--listen",
                                    options.listen,
                                    "--intent-listen",
                                    options.intent_listen,
                                    "--print-bootstrap",
                                    layout.bootstrap().string()};
    const auto add = [&out](const char* flag, const std::string& value) {
        if (!value.empty()) {
            out.emplace_back(flag);
            out.push_back(value);
        }
    };
    add("--advertise", options.advertise);
    add("--region", options.region);
    add("--log-level", options.log_level);
    return out;
}

std::vector<std::string> agent_arguments(const std::string& program, const Layout& layout,
                                         const UpOptions& options) {
    std::vector<std::string> out = {
        program, "run", "--data-dir", layout.agent().string(), "--backbone", options.backbone};
    if (!options.pin.empty()) {
        out.emplace_back("--pin");
        out.push_back(options.pin);
    }
    if (options.force_clsact) {
        out.emplace_back("--force-clsact");
    }
    if (options.flows != 0) {
        out.emplace_back("--flows");
        out.push_back(std::to_string(options.flows));
    }
    if (!options.metrics.empty()) {
        out.emplace_back("--metrics");
        out.push_back(options.metrics);
    }
    if (!options.log_level.empty()) {
        out.emplace_back("--log-level");
        out.push_back(options.log_level);
    }
    for (const auto& [name, value] : options.agent) {
        if (!value.empty()) {
            out.push_back(name);
            out.push_back(value);
        }
    }
    return out;
}

std::vector<std::string> join_arguments(const std::string& program, const Layout& layout,
                                        const UpOptions& options, const std::string& control) {
    return {program,   "join",        "--data-dir", layout.agent().string(),
            "--name",  options.node,  "--control",  control,
            "--outer", options.outer, "--ca",       layout.ca().string()};
}

Result<boost::json::value> metadata_of(const std::string& control, const std::string& ca_pem) {
    Credentials nobody;
    nobody.control = control;
    nobody.ca_pem = ca_pem;
    auto session = Session::open(nobody, kMetadata);
    if (!session) {
        return std::unexpected(session.error());
    }
    auto answer = (*session)->send_plain("GET", "/metadata/endpoints?api-version=2022-09-01");
    if (!answer) {
        return std::unexpected(answer.error());
    }
    if (answer->status != 200) {
        return std::unexpected(error_of(*answer, "ask " + control));
    }
    boost::system::error_code bad;
    auto parsed = boost::json::parse(answer->body, bad);
    if (bad) {
        return fail(Code::kInternal, fmt::format("ask {}: the answer is not JSON", control));
    }
    return parsed;
}

}  // namespace culvert::cli
