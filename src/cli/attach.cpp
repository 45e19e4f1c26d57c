// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.hpp"
#include "cli/local.hpp"
#include "cli/migrate.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"
#include "model/resource_id.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <pwd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <limits>
#include <optional>

namespace culvert::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t kUserEntryBytes = 16384;

// The id of a user given by name or number.
Result<std::optional<std::uint32_t>> user_id(const std::string& user) {
    if (user.empty()) {
        return std::nullopt;
    }
    std::uint32_t id = 0;
    const auto* end = user.data() + user.size();
    const auto read = std::from_chars(user.data(), end, id);
    if (read.ec == std::errc{} && read.ptr == end &&
        id != std::numeric_limits<std::uint32_t>::max()) {
        return id;
    }
    passwd entry{};
    passwd* found = nullptr;
    std::array<char, kUserEntryBytes> room{};
    if (::getpwnam_r(user.c_str(), &entry, room.data(), room.size(), &found) != 0 ||
        found == nullptr) {
        return fail(
            Code::kNotFound,
            fmt::format("attach: this machine has no user \"{}\"; give a name or an id", user),
            "--tap-user");
    }
    return entry.pw_uid;
}

}  // namespace

Result<std::string> netns_path(const std::string& doing, const std::string& name) {
    std::string path = name.contains('/') ? name : "/run/netns/" + name;
    std::error_code bad;
    if (!std::filesystem::exists(path, bad)) {
        return fail(Code::kNotFound,
                    fmt::format("{}: the namespace {} does not exist; make it with `ip netns "
                                "add {}`, or give the "
                                "path of a namespace file such as /proc/PID/ns/net",
                                doing, path, name),
                    "--netns");
    }
    return path;
}

Status check_nic(const std::string& nic) {
    auto id = model::ResourceId::parse(nic);
    if (!id || !id->is_type("Microsoft.Network/networkInterfaces")) {
        return fail(
            Code::kInvalidArgument,
            fmt::format(
                "\"{}\" is not the id of a network interface; give /subscriptions/.../providers/"
                "Microsoft.Network/networkInterfaces/NAME (`az network nic show --query id`)",
                nic),
            "--nic");
    }
    return {};
}

bool lists(const AgentStatus& agent, const std::string& nic) {
    return std::ranges::any_of(
        agent.nics, [&nic](const LocalNic& at) { return model::same_name(at.nic_id, nic); });
}

namespace {

// What QEMU needs to open the interface.
std::string qemu_options(const Plumbed& made) {
    return fmt::format(
        "-netdev tap,id=culvert0,ifname={},script=no,downscript=no -device "
        "virtio-net-pci,netdev=culvert0,mac={},host_mtu={},host_ufo=off",
        made.host_ifname, made.mac, made.mtu);
}

json::object facts_json(const AttachOptions& options, const std::string& node,
                        const Plumbed& made) {
    json::object out{{"nic", options.nic}, {"node", node}};
    if (options.tap) {
        out["tap"] = true;
    } else {
        out["netns"] = options.netns;
        out["ifname"] = options.ifname;
    }
    out["hostIfname"] = made.host_ifname;
    out["macAddress"] = made.mac;
    out["address"] = made.address;
    out["gateway"] = made.gateway;
    if (!made.six.empty()) {
        out["ipv6Address"] = made.six;
    }
    out["mtu"] = made.mtu;
    if (options.tap) {
        out["qemuOptions"] = qemu_options(made);
    }
    return out;
}

void print_attached(const Settings& settings, const AttachOptions& options, const std::string& node,
                    const Plumbed& made) {
    const std::string six = made.six.empty() ? "" : " and " + made.six;
    if (settings.json) {
        print_json(facts_json(options, node, made));
    } else if (options.tap) {
        fmt::print(
            "attached TAP {}: {}{} via {}, MAC {}, MTU {} (on node {})\nQEMU opens it with\n  {}\n",
            made.host_ifname, made.address, six, made.gateway, made.mac, made.mtu, node,
            qemu_options(made));
    } else {
        fmt::print("attached {} in {}: {}{} via {}, MAC {}, MTU {} ({} on node {})\n",
                   options.ifname, options.netns, made.address, six, made.gateway, made.mac,
                   made.mtu, made.host_ifname, node);
    }
}

}  // namespace

Result<int> run_attach(const Settings& settings, const AttachOptions& options) {
    CULVERT_TRY_STATUS(check_nic(options.nic));
    auto socket = connect_agent(agent_socket(settings.data_dir));
    auto agent =
        socket ? (*socket)->status() : Result<AgentStatus>(std::unexpected(socket.error()));
    if (!agent && options.node.empty()) {
        return std::unexpected(agent.error());
    }
    const bool here = agent && (options.node.empty() || options.node == agent->node);
    const std::string node = here ? agent->node : options.node;
    std::string path;
    const auto user = user_id(options.tap_user);
    if (!user) {
        return std::unexpected(user.error());
    }
    if (here && !options.tap) {
        auto found = netns_path("attach", options.netns);
        if (!found) {
            return std::unexpected(found.error());
        }
        path = *found;
    }
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(session.error());
    }
    json::object body;
    body["node"] = node;
    auto attached = (*session)->call("POST", options.nic + "/attach" + kNicApiVersion, body);
    if (!attached) {
        return std::unexpected(attached.error());
    }
    if (!here && settings.json) {
        print_json({{"nic", options.nic}, {"node", node}});
        return 0;
    }
    if (!here) {
        fmt::print("attached to node {}; run the same command there to make the interface\n", node);
        return 0;
    }
    auto made = options.tap ? (*socket)->plumb_tap(options.nic, options.tap_name, *user)
                            : (*socket)->plumb(options.nic, path, options.ifname);
    if (!made) {
        if (!lists(*agent, options.nic)) {  // it was not there before: leave nothing half done
            (void)(*session)->call("POST", options.nic + "/detach" + kNicApiVersion,
                                   json::object{});
        }
        return std::unexpected(made.error());
    }
    print_attached(settings, options, node, *made);
    return 0;
}

Result<int> run_detach(const Settings& settings, const DetachOptions& options) {
    CULVERT_TRY_STATUS(check_nic(options.nic));
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(session.error());
    }
    // the control plane first: it says whether the caller may
    auto detached =
        (*session)->call("POST", options.nic + "/detach" + kNicApiVersion, json::object{});
    if (!detached) {
        return std::unexpected(detached.error());
    }
    if (auto socket = connect_agent(agent_socket(settings.data_dir))) {
        auto existed = (*socket)->unplumb(options.nic);
        if (!existed && existed.error().code != Code::kNotFound) {
            return std::unexpected(existed.error());
        }
    }
    if (settings.json) {
        print_json({{"nic", options.nic}, {"attached", false}});
    } else {
        fmt::print("detached\n");
    }
    return 0;
}

}  // namespace culvert::cli
