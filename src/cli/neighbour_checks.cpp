// SPDX-License-Identifier: Apache-2.0
// Others on this host that look at the same packets: tc programs and filters on our interfaces,
// packet filters, reverse path filters.
#include "cli/checks.hpp"
#include "cli/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>

namespace culvert::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::uint32_t kTcxIngress = 46;  // bookworm's headers are of 6.1
constexpr std::uint32_t kPrograms = 64;    // of one interface
constexpr std::string_view kOurFilter = "0xcf01";
constexpr std::size_t kOutputBytes = std::size_t{4} << 20U;

std::string trimmed(const std::string& text) {
    return text.substr(0, text.find_last_not_of(" \n") + 1);
}

// What a program writes to its standard output; empty when it is not there or fails.
std::string output_of(const std::vector<std::string>& argv) {
    const auto program = find_program(argv.front());
    std::array<int, 2> ends{};
    if (!program || ::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return "";
    }
    std::vector<char*> words;
    words.reserve(argv.size() + 1);
    for (const auto& word : argv) {
        words.push_back(const_cast<char*>(word.c_str()));
    }
    words.push_back(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], STDOUT_FILENO);
        const int nowhere = ::open("/dev/null", O_WRONLY);
        ::dup2(nowhere, STDERR_FILENO);
        ::execv(program->c_str(), words.data());
        ::_exit(127);
    }
    ::close(ends[1]);
    std::string out;
    std::array<char, 4096> some{};
    ssize_t got = 0;
    while (child > 0 && out.size() < kOutputBytes &&
           ((got = ::read(ends[0], some.data(), some.size())) > 0 || errno == EINTR)) {
        out.append(some.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    return status == 0 ? out : "";
}

long bpf(int command, bpf_attr& attributes) {
    return ::syscall(SYS_bpf, command, &attributes, sizeof attributes);
}

std::string program_name(std::uint32_t id) {
    bpf_attr attributes{};
    attributes.prog_id = id;
    const auto fd = static_cast<int>(bpf(BPF_PROG_GET_FD_BY_ID, attributes));
    if (fd < 0) {
        return fmt::format("program {}", id);
    }
    bpf_prog_info info{};
    bpf_attr ask{};
    ask.info.bpf_fd = static_cast<std::uint32_t>(fd);
    ask.info.info_len = sizeof info;
    ask.info.info = reinterpret_cast<std::uintptr_t>(&info);
    const bool known = bpf(BPF_OBJ_GET_INFO_BY_FD, ask) == 0;
    ::close(fd);
    return known ? std::string(info.name, ::strnlen(info.name, sizeof info.name)) : "";
}

// tcx programs at the ingress that are not our stub's.
std::vector<std::string> other_tcx(const std::string& ifname) {
    std::array<std::uint32_t, kPrograms> ids{};
    bpf_attr attributes{};
    attributes.query.target_fd = ::if_nametoindex(ifname.c_str());
    attributes.query.attach_type = kTcxIngress;
    attributes.query.prog_ids = reinterpret_cast<std::uintptr_t>(ids.data());
    attributes.query.prog_cnt = kPrograms;
    std::vector<std::string> out;
    if (bpf(BPF_PROG_QUERY, attributes) != 0) {
        return out;  // a kernel without tcx, or without the right to ask
    }
    for (std::uint32_t i = 0; i < std::min(attributes.query.prog_cnt, kPrograms); ++i) {
        const auto name = program_name(ids[i]);
        // the kernel keeps 15 characters
        if (!name.starts_with("stub_workload") && !name.starts_with("stub_backbone") &&
            !name.starts_with("stub_services")) {
            out.push_back(fmt::format("tcx program '{}' on {}", name, ifname));
        }
    }
    return out;
}

// The backbone and the host's side of every workload.
std::vector<std::string> our_interfaces(const std::string& backbone) {
    std::vector<std::string> out;
    if (backbone != "none" && ::if_nametoindex(backbone.c_str()) != 0) {
        out.push_back(backbone);
    }
    std::error_code bad;
    for (const auto& entry : fs::directory_iterator("/sys/class/net", bad)) {
        const auto alias = read_file(entry.path() / "ifalias");
        if (alias && alias->starts_with("culvert ")) {
            out.push_back(entry.path().filename().string());
        }
    }
    return out;
}

Check programs_check(const std::string& backbone) {
    std::vector<std::string> others;
    const auto interfaces = our_interfaces(backbone);
    for (const auto& ifname : interfaces) {
        const auto filters =
            other_filters(output_of({"tc", "-j", "filter", "show", "dev", ifname, "ingress"}));
        for (const auto& filter : filters) {
            others.push_back(fmt::format("filter {} on {}", filter, ifname));
        }
        for (auto& program : other_tcx(ifname)) {
            others.push_back(std::move(program));
        }
    }
    if (others.empty()) {
        return {"other tc programs", Verdict::kOk,
                fmt::format("none on {} interfaces of ours", interfaces.size()), ""};
    }
    return {"other tc programs", Verdict::kWarn, fmt::format("{}", fmt::join(others, ", ")),
            "they work beside Culvert as long as they pass on what is not theirs: look with "
            "`bpftool net` and `tc filter show dev IFNAME ingress`"};
}

std::string setting(const std::string& path) {
    auto text = read_file("/proc/sys/net/" + path);
    return text ? trimmed(*text) : "";
}

// What Culvert carries does not pass netfilter. It matters where frames between nodes cross a
// bridge of this host before they reach the backbone interface.
Check filter_check(const std::string& backbone) {
    const bool drops = forward_drops(output_of({"iptables-save", "-t", "filter"}));
    const bool bridged = setting("bridge/bridge-nf-call-iptables") == "1";
    const std::string device = "/sys/class/net/" + backbone;
    std::error_code bad;
    const bool on_bridge = backbone != "none" && (fs::exists(device + "/bridge", bad) ||
                                                  fs::exists(device + "/brport", bad));
    if (drops && bridged && on_bridge) {
        return {"packet filter", Verdict::kWarn,
                fmt::format("the FORWARD policy is DROP and bridges ask iptables: frames between "
                            "nodes that cross the bridge of {} are dropped",
                            backbone),
                "sysctl -w net.bridge.bridge-nf-call-iptables=0, or allow UDP 4789 in DOCKER-USER"};
    }
    return {"packet filter", Verdict::kOk,
            drops ? "the FORWARD policy is DROP (as Docker sets it): Culvert's traffic does not "
                    "pass there"
                  : "nothing that Culvert's traffic passes",
            ""};
}

// The larger of the two counts (Linux ip-sysctl, rp_filter); 1 is strict.
Check reverse_path_check(const std::string& backbone) {
    const auto all = setting("ipv4/conf/all/rp_filter");
    const auto own = backbone == "none" ? "" : setting("ipv4/conf/" + backbone + "/rp_filter");
    const std::string counts = std::max(all, own);
    if (counts == "1") {
        return {
            "reverse path filter", Verdict::kWarn,
            "strict: the host's own packets to other nodes and to culvertd are dropped where "
            "they come back by another interface (Culvert's traffic is not)",
            "if a node has several ways to the others: sysctl -w net.ipv4.conf.all.rp_filter=2"};
    }
    return {"reverse path filter", Verdict::kOk, counts == "2" ? "loose" : "off", ""};
}

}  // namespace

std::vector<std::string> other_filters(const std::string& tc_json) {
    std::vector<std::string> out;
    boost::system::error_code bad;
    const auto parsed = json::parse(tc_json.empty() ? "[]" : tc_json, bad);
    if (bad || !parsed.is_array()) {
        return out;
    }
    for (const auto& each : parsed.get_array()) {
        const auto* options = each.is_object() ? each.get_object().if_contains("options") : nullptr;
        if (options == nullptr || !options->is_object()) {
            continue;  // the chain's header
        }
        const auto* handle = options->get_object().if_contains("handle");
        if (handle != nullptr && handle->is_string() && handle->get_string() == kOurFilter) {
            continue;
        }
        const auto* kind = each.get_object().if_contains("kind");
        const auto* priority = each.get_object().if_contains("pref");
        out.push_back(fmt::format(
            "{} pref {}",
            kind != nullptr && kind->is_string() ? std::string(kind->get_string()) : "?",
            priority != nullptr ? json::serialize(*priority) : "?"));
    }
    return out;
}

bool forward_drops(std::string_view iptables_save) {
    std::istringstream lines{std::string(iptables_save)};
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(":FORWARD DROP")) {
            return true;
        }
    }
    return false;
}

std::vector<Check> neighbour_checks(const Settings&, const DoctorOptions& options) {
    return {programs_check(options.backbone), filter_check(options.backbone),
            reverse_path_check(options.backbone)};
}

}  // namespace culvert::cli
