// SPDX-License-Identifier: Apache-2.0
#include "control/identity_documents.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

namespace culvert::control {

namespace json = boost::json;

namespace {

// Reads texts out of a document and remembers whether one was missing.
class Reader {
  public:
    explicit Reader(std::string_view text) {
        json::error_code ec;
        value_ = json::parse(text, ec);
        good_ = !ec && value_.is_object();
    }
    std::string text(std::string_view name) {
        const auto* member = good_ ? value_.as_object().if_contains(name) : nullptr;
        if (member == nullptr || !member->is_string()) {
            good_ = false;
            return {};
        }
        return std::string(member->as_string());
    }
    template <typename T>
    Result<T> finish(T value, std::string_view what) const {
        if (!good_) {
            return fail(Code::kCorrupt, fmt::format("stored {} is damaged", what));
        }
        return value;
    }

  private:
    json::value value_;
    bool good_ = false;
};

}  // namespace

std::string_view kind_name(PrincipalKind kind) {
    return kind == PrincipalKind::kUser ? "User" : "ServicePrincipal";
}

std::string encode(const Tenant& value) {
    return json::serialize(json::object{{"id", value.id}, {"name", value.name}});
}

std::string encode(const Subscription& value) {
    return json::serialize(
        json::object{{"id", value.id}, {"tenant", value.tenant}, {"name", value.name}});
}

std::string encode(const Principal& value) {
    return json::serialize(json::object{{"id", value.id},
                                        {"tenant", value.tenant},
                                        {"kind", kind_name(value.kind)},
                                        {"name", value.name},
                                        {"client", value.client},
                                        {"secretHash", value.secret_hash}});
}

std::string encode(const RoleAssignment& value) {
    return json::serialize(json::object{{"id", value.what.id},
                                        {"principal", value.what.principal},
                                        {"role", value.what.role},
                                        {"scope", value.what.scope},
                                        {"scopeAsGiven", value.scope_as_given},
                                        {"tenant", value.tenant},
                                        {"principalType", value.principal_type},
                                        {"createdOn", value.created_on},
                                        {"createdBy", value.created_by}});
}

Result<Tenant> decode_tenant(std::string_view text) {
    Reader in(text);
    Tenant out{in.text("id"), in.text("name")};
    return in.finish(std::move(out), "tenant");
}

Result<Subscription> decode_subscription(std::string_view text) {
    Reader in(text);
    Subscription out{in.text("id"), in.text("tenant"), in.text("name")};
    return in.finish(std::move(out), "subscription");
}

Result<Principal> decode_principal(std::string_view text) {
    Reader in(text);
    Principal out;
    out.id = in.text("id");
    out.tenant = in.text("tenant");
    out.kind = in.text("kind") == kind_name(PrincipalKind::kUser)
                   ? PrincipalKind::kUser
                   : PrincipalKind::kServicePrincipal;
    out.name = in.text("name");
    out.client = in.text("client");
    out.secret_hash = in.text("secretHash");
    return in.finish(std::move(out), "principal");
}

Result<RoleAssignment> decode_role_assignment(std::string_view text) {
    Reader in(text);
    RoleAssignment out;
    out.what = {in.text("id"), in.text("principal"), in.text("role"), in.text("scope")};
    out.scope_as_given = in.text("scopeAsGiven");
    out.tenant = in.text("tenant");
    out.principal_type = in.text("principalType");
    out.created_on = in.text("createdOn");
    out.created_by = in.text("createdBy");
    return in.finish(std::move(out), "role assignment");
}

}  // namespace culvert::control
