// SPDX-License-Identifier: Apache-2.0
#include "agent/bindings.hpp"

#include "agent/json_file.hpp"

namespace culvert::agent {
namespace {

namespace json = boost::json;
constexpr mode_t kPrivate = 0600;

Binding read(const json::object& from) {
    const auto text = [&](std::string_view name) { return std::string(from.at(name).as_string()); };
    Binding out;
    out.nic_id = text("nic");
    out.attachment = text("attachment");
    out.index = from.at("index").to_number<std::uint32_t>();
    out.netns = text("netns");
    out.netns_device = from.at("netnsDevice").to_number<std::uint64_t>();
    out.netns_inode = from.at("netnsInode").to_number<std::uint64_t>();
    out.ifname = text("ifname");
    out.host_ifname = text("hostIfname");
    out.waiting = from.contains("waiting") ? text("waiting") : std::string();
    out.on_trial = from.contains("onTrial") && from.at("onTrial").as_bool();
    if (from.contains("tapUser")) {
        out.tap_user = from.at("tapUser").to_number<std::uint32_t>();
    }
    return out;
}

json::object write(const Binding& from) {
    json::object out{{"nic", from.nic_id},
                     {"attachment", from.attachment},
                     {"index", from.index},
                     {"netns", from.netns},
                     {"netnsDevice", from.netns_device},
                     {"netnsInode", from.netns_inode},
                     {"ifname", from.ifname},
                     {"waiting", from.waiting},
                     {"onTrial", from.on_trial},
                     {"hostIfname", from.host_ifname}};
    if (from.tap_user) {
        out["tapUser"] = *from.tap_user;
    }
    return out;
}

}  // namespace

Result<Bindings> load_bindings(const std::filesystem::path& path) {
    return load_json_or(Bindings{}, path, [](const json::object& from) {
        Bindings out;
        for (const auto& each : from.at("bindings").as_array()) {
            Binding binding = read(each.as_object());
            const std::uint32_t index = binding.index;
            out.emplace(index, std::move(binding));
        }
        return out;
    });
}

Status save_bindings(const std::filesystem::path& path, const Bindings& bindings) {
    json::array all;
    for (const auto& [index, binding] : bindings) {
        all.push_back(write(binding));
    }
    return runtime::replace_file(path, json::serialize(json::object{{"bindings", all}}) + "\n",
                                 kPrivate);
}

}  // namespace culvert::agent
