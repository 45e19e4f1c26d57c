// SPDX-License-Identifier: Apache-2.0
// What `culvert doctor` looks at: each check says what it found and, when that will not do, how to
// mend it. Checks only look; none changes the machine.
#pragma once

#include "cli/commands.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace culvert::cli {

enum class Verdict { kOk, kWarn, kFail };

constexpr std::string_view to_string(Verdict verdict) {
    return verdict == Verdict::kOk ? "ok" : verdict == Verdict::kWarn ? "warn" : "fail";
}

struct Check {
    std::string name;
    Verdict verdict = Verdict::kOk;
    std::string found;
    std::string remedy;
};

std::vector<Check> kernel_checks();  // version, BTF, BPF
std::vector<Check> network_checks(const Settings& settings,
                                  const DoctorOptions& options);  // backbone, ports
std::vector<Check> machine_checks(const Settings& settings,
                                  const DoctorOptions& options);  // limits, clock, rights
std::vector<Check> installation_checks(const Settings& settings,
                                       const DoctorOptions& options);  // certificates, skew, room
std::vector<Check> neighbour_checks(const Settings& settings,
                                    const DoctorOptions& options);  // others on our interfaces

// "6.12.3-amd64" -> {6, 12}; {0, 0} when it is no version.
std::pair<int, int> parse_release(std::string_view release);
// Whether /proc/net/udp text lists a socket on the port (local address column, hexadecimal).
bool lists_udp_port(std::string_view proc_net_udp, std::uint16_t port);
// The filters that `tc -j filter show` lists, but ours: "bpf pref 100".
std::vector<std::string> other_filters(const std::string& tc_json);
// Whether `iptables-save` text sets the FORWARD chain's policy to DROP.
bool forward_drops(std::string_view iptables_save);

}  // namespace culvert::cli
