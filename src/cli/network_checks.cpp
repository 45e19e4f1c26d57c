// SPDX-License-Identifier: Apache-2.0
#include "cli/checks.hpp"
#include "cli/installation.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

namespace culvert::cli {
namespace {

constexpr int kEncapBytes = 50;  // outer IPv4, UDP, VXLAN, inner Ethernet (RFC 7348 5)
constexpr int kUsualMtu = 1500;
constexpr int kLeastMtu = 576 + kEncapBytes;  // RFC 791: what every IPv4 host must take
constexpr std::uint16_t kControlPort = 8443;
constexpr std::uint16_t kIntentPort = 8444;

Check mtu_check(const std::string& backbone) {
    auto text = read_file(fmt::format("/sys/class/net/{}/mtu", backbone));
    if (!text) {
        return {"backbone MTU", Verdict::kFail, fmt::format("no interface {}", backbone),
                "name the backbone's interface with --backbone (`ip -br link` lists them)"};
    }
    const int mtu = std::atoi(text->c_str());
    const auto found = fmt::format("{}: {}; workloads get {}", backbone, mtu, mtu - kEncapBytes);
    if (mtu < kLeastMtu) {
        return {"backbone MTU", Verdict::kFail, found,
                fmt::format("ip link set {} mtu {}", backbone, kUsualMtu)};
    }
    if (mtu - kEncapBytes < kUsualMtu) {
        return {"backbone MTU", Verdict::kWarn,
                found + " (works; software that insists on 1500 sends larger packets in pieces)",
                fmt::format("where every switch between nodes allows it: ip link set {} mtu {}",
                            backbone, kUsualMtu + kEncapBytes)};
    }
    return {"backbone MTU", Verdict::kOk, found, ""};
}

Check address_check(const std::string& backbone) {
    auto address = address_of(backbone);
    if (!address) {
        return {"backbone address", Verdict::kFail, "no IPv4 address",
                fmt::format("ip addr add ADDRESS/LENGTH dev {}", backbone)};
    }
    return {"backbone address", Verdict::kOk, *address, ""};
}

bool feature(int fd, const std::string& ifname, std::uint32_t command) {
    ethtool_value value{.cmd = command, .data = 0};
    ifreq request{};
    std::strncpy(request.ifr_name, ifname.c_str(), IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&value);
    return ::ioctl(fd, SIOCETHTOOL, &request) == 0 && value.data != 0;
}

Check offload_check(const std::string& backbone) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    std::string off;
    for (const auto& [name, command] :
         {std::pair{"tso", ETHTOOL_GTSO}, {"gso", ETHTOOL_GGSO}, {"gro", ETHTOOL_GGRO}}) {
        if (!feature(fd, backbone, static_cast<std::uint32_t>(command))) {
            off += (off.empty() ? "" : " ") + std::string(name);
        }
    }
    ::close(fd);
    if (off.empty()) {
        return {"offloads", Verdict::kOk, "tso, gso and gro are on", ""};
    }
    std::string remedy = fmt::format("ethtool -K {}", backbone);
    std::istringstream names(off);
    for (std::string name; names >> name;) {
        remedy += " " + name + " on";
    }
    return {"offloads", Verdict::kWarn, off + " off: large transfers cost several times more",
            remedy};
}

Check udp_check(std::uint16_t port) {
    for (const auto* table : {"/proc/net/udp", "/proc/net/udp6"}) {
        auto text = read_file(table);
        if (text && lists_udp_port(*text, port)) {
            return {"VXLAN port", Verdict::kFail,
                    fmt::format("UDP {} is taken by another socket or VXLAN device", port),
                    "find it with `ss -lunp` or `ip -d link show type vxlan` and move it, or give "
                    "Culvert another "
                    "port on every node"};
        }
    }
    return {"VXLAN port", Verdict::kOk, fmt::format("UDP {} is free", port), ""};
}

Check listen_check(const Settings& settings) {
    const Layout layout{settings.data_dir};
    if (const auto process = running_from(layout.pid_of(kControlProcess))) {
        return {"API ports", Verdict::kOk,
                fmt::format("held by culvertd, process {}", process->pid), ""};
    }
    for (const auto port : {kControlPort, kIntentPort}) {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int on = 1;
        ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(port);
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
        ::close(fd);
        if (!free) {
            return {
                "API ports", Verdict::kWarn, fmt::format("TCP {} on 127.0.0.1 is taken", port),
                fmt::format(
                    "see who has it with `ss -ltnp sport = :{}`, or `culvert up --listen HOST:PORT "
                    "--intent-listen HOST:PORT`",
                    port)};
        }
    }
    return {"API ports", Verdict::kOk,
            fmt::format("TCP {} and {} are free", kControlPort, kIntentPort), ""};
}

}  // namespace

bool lists_udp_port(std::string_view proc_net_udp, std::uint16_t port) {
    const auto wanted = fmt::format(":{:04X}", port);
    std::istringstream lines{std::string(proc_net_udp)};
    std::string line;
    std::getline(lines, line);  // the header
    while (std::getline(lines, line)) {
        std::istringstream fields(line);
        std::string slot;
        std::string local;
        if (fields >> slot >> local && local.ends_with(wanted)) {
            return true;
        }
    }
    return false;
}

std::vector<Check> network_checks(const Settings& settings, const DoctorOptions& options) {
    std::vector<Check> out;
    if (options.backbone == "none") {
        out.push_back({"backbone", Verdict::kOk,
                       "none: this machine alone (--backbone IFNAME checks one)", ""});
    } else {
        out.push_back(mtu_check(options.backbone));
        if (out.back().verdict != Verdict::kFail) {
            out.push_back(address_check(options.backbone));
            out.push_back(offload_check(options.backbone));
        }
    }
    out.push_back(udp_check(options.udp_port));
    out.push_back(listen_check(settings));
    return out;
}

}  // namespace culvert::cli
