// SPDX-License-Identifier: Apache-2.0
#include "control/node_documents.hpp"

#include "base/limits.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

namespace culvert::control {
namespace {

namespace json = boost::json;

constexpr std::int64_t kVersion = 1;

// Reads the members of one document; remembers the first thing that is wrong.
class Members {
  public:
    Members(std::string_view document, std::string_view what) : what_(what) {
        boost::system::error_code error;
        json::value value = json::parse(document, error);
        if (error || !value.is_object()) {
            wrong_ = "not a JSON object";
            return;
        }
        object_ = std::move(value.as_object());
        if (number("v") != kVersion) {
            wrong_ = "of another version";
        }
    }

    std::string text(std::string_view name) {
        const json::value* member = object_.if_contains(name);
        if (member == nullptr || !member->is_string()) {
            set_wrong(name);
            return {};
        }
        return std::string(member->as_string());
    }
    // nullopt when absent.
    std::optional<std::vector<std::string>> texts_or_none(std::string_view name) {
        const json::value* member = object_.if_contains(name);
        if (member == nullptr) {
            return std::nullopt;
        }
        std::vector<std::string> texts;
        for (const json::value& each : member->is_array() ? member->get_array() : json::array()) {
            require(each.is_string(), name);
            texts.emplace_back(each.is_string() ? each.get_string() : json::string());
        }
        require(member->is_array(), name);
        return texts;
    }
    // "" when absent.
    std::string text_or_none(std::string_view name) {
        return object_.contains(name) ? text(name) : std::string();
    }
    // 0 when absent.
    std::int64_t number_or_none(std::string_view name) {
        return object_.contains(name) ? number(name) : 0;
    }
    std::int64_t number(std::string_view name) {
        const json::value* member = object_.if_contains(name);
        if (member == nullptr || !member->is_int64()) {
            set_wrong(name);
            return 0;
        }
        return member->as_int64();
    }
    // A member that older documents lack: false.
    bool flag(std::string_view name) {
        const json::value* member = object_.if_contains(name);
        require(member == nullptr || member->is_bool(), name);
        return member != nullptr && member->is_bool() && member->as_bool();
    }
    void require(bool holds, std::string_view name) {
        if (!holds) {
            set_wrong(name);
        }
    }

    template <typename T>
    Result<T> finish(T value) const {
        if (!wrong_.empty()) {
            return fail(Code::kCorrupt, fmt::format("{} document: {}", what_, wrong_));
        }
        return value;
    }

  private:
    void set_wrong(std::string_view name) {
        if (wrong_.empty()) {
            wrong_ = fmt::format("'{}' is missing or wrong", name);
        }
    }

    std::string what_;
    json::object object_;
    std::string wrong_;
};

void add_tenants(json::object& out, const std::optional<std::vector<std::string>>& tenants) {
    if (tenants) {
        out["tenants"] = json::value_from(*tenants);
    }
}

}  // namespace

std::string encode(const model::Node& value) {
    const auto until = value.certificate_until.time_since_epoch();
    json::object out{
        {"v", kVersion},
        {"name", value.name},
        {"index", value.index},
        {"outer", value.outer},
        {"certificateSerial", value.certificate_serial},
        {"authority", value.authority},
        {"certificateUntil", std::chrono::duration_cast<std::chrono::seconds>(until).count()}};
    add_tenants(out, value.tenants);
    if (!value.next_serial.empty()) {
        out["nextSerial"] = value.next_serial;
    }
    if (value.draining) {
        out["draining"] = true;
    }
    return json::serialize(out);
}

std::string encode(const model::Attachment& value) {
    return json::serialize(json::object{{"v", kVersion},
                                        {"nic", value.nic.str()},
                                        {"node", value.node},
                                        {"id", value.id},
                                        {"attachedBy", value.attached_by}});
}

std::string encode(const JoinToken& value) {
    const auto since_epoch = value.expires.time_since_epoch();
    json::object out{
        {"v", kVersion},
        {"node", value.node},
        {"expires", std::chrono::duration_cast<std::chrono::seconds>(since_epoch).count()},
        {"createdBy", value.created_by}};
    add_tenants(out, value.tenants);
    return json::serialize(out);
}

Result<model::Node> decode_node(std::string_view document) {
    Members members(document, "node");
    model::Node value;
    value.name = members.text("name");
    const std::int64_t index = members.number("index");
    members.require(index > 0 && index < limits::kNodes, "index");
    value.index = static_cast<std::uint32_t>(index);
    value.outer = members.text("outer");
    value.certificate_serial = members.text("certificateSerial");
    value.tenants = members.texts_or_none("tenants");
    value.draining = members.flag("draining");
    value.next_serial = members.text_or_none("nextSerial");
    value.authority = members.text_or_none("authority");
    value.certificate_until =
        WallTime(std::chrono::seconds(members.number_or_none("certificateUntil")));
    return members.finish(std::move(value));
}

Result<model::Attachment> decode_attachment(std::string_view document) {
    Members members(document, "attachment");
    model::Attachment value;
    auto nic = model::ResourceId::parse(members.text("nic"));
    members.require(nic.has_value(), "nic");
    if (nic) {
        value.nic = std::move(*nic);
    }
    value.node = members.text("node");
    value.id = members.text("id");
    value.attached_by = members.text("attachedBy");
    return members.finish(std::move(value));
}

Result<JoinToken> decode_join_token(std::string_view document) {
    Members members(document, "join token");
    JoinToken value;
    value.node = members.text("node");
    value.expires = WallTime(std::chrono::seconds(members.number("expires")));
    value.created_by = members.text("createdBy");
    value.tenants = members.texts_or_none("tenants");
    return members.finish(std::move(value));
}

}  // namespace culvert::control
