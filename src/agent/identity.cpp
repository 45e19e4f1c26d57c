// SPDX-License-Identifier: Apache-2.0
#include "agent/identity.hpp"

#include "agent/json_file.hpp"

#include <string_view>
#include <utility>

namespace culvert::agent {
namespace {

namespace json = boost::json;
constexpr mode_t kPrivate = 0600;
constexpr mode_t kPublic = 0644;
constexpr mode_t kPrivateDirectory = 0700;
constexpr const char* kCredentials = "node.pem";
constexpr std::string_view kCertificateBegins = "-----BEGIN CERTIFICATE-----";

Status read_credentials(const std::filesystem::path& data_dir, Identity& out) {
    const auto pem = runtime::read_file(data_dir / kCredentials);
    if (!pem) {
        return std::unexpected(pem.error());
    }
    const auto at = pem->find(kCertificateBegins);
    if (at == 0 || at == std::string::npos) {
        return fail(Code::kCorrupt, fmt::format("read {}: not a key and a certificate",
                                                (data_dir / kCredentials).string()));
    }
    out.key_pem = pem->substr(0, at);
    out.certificate_pem = pem->substr(at);
    return {};
}

}  // namespace

Result<Identity> load_identity(const std::filesystem::path& data_dir) {
    auto loaded = load_json(data_dir / "node.json", [](const json::object& from) {
        const auto text = [&](std::string_view name) {
            return std::string(from.at(name).as_string());
        };
        Identity out;
        out.name = text("name");
        out.outer = text("outer");
        out.intent = text("intent");
        out.control = text("control");
        out.node = from.at("node").to_number<std::uint32_t>();
        return out;
    });
    if (!loaded) {
        auto error = loaded.error();
        if (error.code == Code::kNotFound) {
            error.message += " (this node has not joined: culvert-agent join)";
        }
        return std::unexpected(std::move(error));
    }
    Identity out = std::move(*loaded);
    auto ca = runtime::read_file(data_dir / "ca.crt");
    if (!ca) {
        return std::unexpected(std::move(ca.error()));
    }
    out.ca_pem = std::move(*ca);
    CULVERT_TRY_STATUS(read_credentials(data_dir, out));
    return out;
}

Status save_trust(const std::filesystem::path& data_dir, const Identity& identity) {
    return runtime::replace_file(data_dir / "ca.crt", identity.ca_pem, kPublic);
}

Status save_credentials(const std::filesystem::path& data_dir, const Identity& identity) {
    return runtime::replace_file(data_dir / kCredentials,
                                 identity.key_pem + identity.certificate_pem, kPrivate);
}

Status save_identity(const std::filesystem::path& data_dir, const Identity& identity) {
    CULVERT_TRY_STATUS(runtime::make_directory(data_dir, kPrivateDirectory));
    CULVERT_TRY_STATUS(save_credentials(data_dir, identity));
    CULVERT_TRY_STATUS(save_trust(data_dir, identity));
    const json::object described{{"name", identity.name},
                                 {"node", identity.node},
                                 {"outer", identity.outer},
                                 {"intent", identity.intent},
                                 {"control", identity.control}};
    return runtime::replace_file(data_dir / "node.json", json::serialize(described) + "\n",
                                 kPublic);
}

}  // namespace culvert::agent
