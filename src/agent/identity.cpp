// SPDX-License-Identifier: Apache-2.0
#include "agent/identity.hpp"

#include "runtime/files.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <array>
#include <utility>

namespace culvert::agent {
namespace {

namespace json = boost::json;
constexpr mode_t kPrivate = 0600;
constexpr mode_t kPublic = 0644;
constexpr mode_t kPrivateDirectory = 0700;

}  // namespace

Result<Identity> load_identity(const std::filesystem::path& data_dir) {
    const auto file = data_dir / "node.json";
    const auto content = runtime::read_file(file);
    if (!content) {
        auto error = content.error();
        if (error.code == Code::kNotFound) {
            error.message += " (this node has not joined: culvert-agent join)";
        }
        return std::unexpected(std::move(error));
    }
    Identity out;
    try {
        const auto parsed = json::parse(*content).as_object();
        const auto text = [&](std::string_view name) {
            return std::string(parsed.at(name).as_string());
        };
        out.name = text("name");
        out.outer = text("outer");
        out.intent = text("intent");
        out.control = text("control");
        out.node = parsed.at("node").to_number<std::uint32_t>();
    } catch (const std::exception& error) {
        return fail(Code::kCorrupt, fmt::format("read {}: {}", file.string(), error.what()));
    }
    const std::array<std::pair<const char*, std::string*>, 3> files{
        {{"node.crt", &out.certificate_pem}, {"node.key", &out.key_pem}, {"ca.crt", &out.ca_pem}}};
    for (const auto& [name, into] : files) {
        auto pem = runtime::read_file(data_dir / name);
        if (!pem) {
            return std::unexpected(std::move(pem.error()));
        }
        *into = std::move(*pem);
    }
    return out;
}

Status save_identity(const std::filesystem::path& data_dir, const Identity& identity) {
    CULVERT_TRY_STATUS(runtime::make_directory(data_dir, kPrivateDirectory));
    CULVERT_TRY_STATUS(runtime::replace_file(data_dir / "node.key", identity.key_pem, kPrivate));
    CULVERT_TRY_STATUS(
        runtime::replace_file(data_dir / "node.crt", identity.certificate_pem, kPublic));
    CULVERT_TRY_STATUS(runtime::replace_file(data_dir / "ca.crt", identity.ca_pem, kPublic));
    const json::object described{{"name", identity.name},
                                 {"node", identity.node},
                                 {"outer", identity.outer},
                                 {"intent", identity.intent},
                                 {"control", identity.control}};
    return runtime::replace_file(data_dir / "node.json", json::serialize(described) + "\n",
                                 kPublic);
}

}  // namespace culvert::agent
