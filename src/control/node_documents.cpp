// SPDX-License-Identifier: Apache-2.0
#include "control/node_documents.hpp"

#include "base/limits.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <array>
#include <utility>

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
    // Objects {"serial", "until"}; none when absent.
    std::vector<model::IssuedCertificate> certificates_or_none(std::string_view name) {
        std::vector<model::IssuedCertificate> out;
        const json::value* member = object_.if_contains(name);
        require(member == nullptr || member->is_array(), name);
        if (member == nullptr || !member->is_array()) {
            return out;
        }
        for (const json::value& each : member->get_array()) {
            const auto* object = each.if_object();
            const auto* serial = object == nullptr ? nullptr : object->if_contains("serial");
            const auto* until = object == nullptr ? nullptr : object->if_contains("until");
            if (serial == nullptr || !serial->is_string() || until == nullptr ||
                !until->is_int64()) {
                set_wrong(name);
                return out;
            }
            out.push_back({std::string(serial->get_string()), in_seconds(until->get_int64())});
        }
        return out;
    }
    // "" when absent.
    std::string text_or_none(std::string_view name) {
        return object_.contains(name) ? text(name) : std::string();
    }
    // 0 when absent.
    std::int64_t number_or_none(std::string_view name) {
        return object_.contains(name) ? number(name) : 0;
    }
    WallTime in_seconds(std::int64_t seconds) {
        require(seconds >= 0 && seconds <= kLatestSecond, "time");
        return wall_time(seconds);
    }
    WallTime time(std::string_view name) { return in_seconds(number(name)); }
    WallTime time_or_none(std::string_view name) { return in_seconds(number_or_none(name)); }
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
    bool has(std::string_view name) const { return object_.contains(name); }
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

std::int64_t seconds_of(WallTime time) {
    return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

void add_tenants(json::object& out, const std::optional<std::vector<std::string>>& tenants) {
    if (tenants) {
        out["tenants"] = json::value_from(*tenants);
    }
}

constexpr std::array<std::pair<model::MoveStage, std::string_view>, 3> kStages{
    {{model::MoveStage::kPreparing, "preparing"},
     {model::MoveStage::kMoving, "moving"},
     {model::MoveStage::kSettling, "settling"}}};

model::MoveStage stage_of(std::string_view name) {
    for (const auto& [stage, known] : kStages) {
        if (known == name) {
            return stage;
        }
    }
    return model::MoveStage::kNone;
}

}  // namespace

std::string_view stage_name(model::MoveStage stage) {
    for (const auto& [known, name] : kStages) {
        if (known == stage) {
            return name;
        }
    }
    return "none";
}

std::string encode(const model::Node& value) {
    json::object out{{"v", kVersion},
                     {"name", value.name},
                     {"index", value.index},
                     {"outer", value.outer},
                     {"certificateSerial", value.certificate_serial},
                     {"authority", value.authority},
                     {"certificateFrom", seconds_of(value.certificate_from)},
                     {"certificateUntil", seconds_of(value.certificate_until)}};
    add_tenants(out, value.tenants);
    for (const model::IssuedCertificate& next : value.next) {
        json::value& all = out["next"];
        (all.is_array() ? all.get_array() : all.emplace_array())
            .push_back(json::object{{"serial", next.serial}, {"until", seconds_of(next.until)}});
    }
    if (value.draining) {
        out["draining"] = true;
    }
    return json::serialize(out);
}

std::string encode(const model::Attachment& value) {
    json::object out{{"v", kVersion},
                     {"nic", value.nic.str()},
                     {"node", value.node},
                     {"id", value.id},
                     {"attachedBy", value.attached_by}};
    if (value.moves()) {
        out["move"] = std::string(stage_name(value.stage));
        out["other"] = value.other;
        out["otherId"] = value.other_id;
    }
    return json::serialize(out);
}

std::string encode(const JoinToken& value) {
    json::object out{{"v", kVersion},
                     {"node", value.node},
                     {"expires", seconds_of(value.expires)},
                     {"createdBy", value.created_by}};
    add_tenants(out, value.tenants);
    return json::serialize(out);
}

std::string encode(const Revocation& value) {
    return json::serialize(
        json::object{{"v", kVersion}, {"node", value.node}, {"until", seconds_of(value.until)}});
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
    value.next = members.certificates_or_none("next");
    // as it was written while there was only one
    if (std::string one = members.text_or_none("nextSerial"); !one.empty()) {
        value.next.push_back({.serial = std::move(one)});
    }
    value.authority = members.text_or_none("authority");
    value.certificate_from = members.time_or_none("certificateFrom");
    value.certificate_until = members.time_or_none("certificateUntil");
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
    if (members.has("move")) {
        value.stage = stage_of(members.text("move"));
        members.require(value.moves(), "move");
        value.other = members.text("other");
        value.other_id = members.text("otherId");
    }
    return members.finish(std::move(value));
}

Result<JoinToken> decode_join_token(std::string_view document) {
    Members members(document, "join token");
    JoinToken value;
    value.node = members.text("node");
    value.expires = members.time("expires");
    value.created_by = members.text("createdBy");
    value.tenants = members.texts_or_none("tenants");
    return members.finish(std::move(value));
}

Result<Revocation> decode_revocation(std::string_view document) {
    Members members(document, "revocation");
    Revocation value;
    value.node = members.text("node");
    value.until = members.time("until");
    return members.finish(std::move(value));
}

}  // namespace culvert::control
