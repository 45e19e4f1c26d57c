// SPDX-License-Identifier: Apache-2.0
#include "wire/reader.hpp"

#include "base/limits.hpp"
#include "model/types.hpp"

#include <algorithm>
#include <cmath>

namespace culvert::wire {
namespace json = boost::json;
namespace {

std::string_view kind_word(json::kind kind) {
    switch (kind) {
        case json::kind::null: return "null";
        case json::kind::bool_: return "a boolean";
        case json::kind::int64:
        case json::kind::uint64:
        case json::kind::double_: return "a number";
        case json::kind::string: return "a string";
        case json::kind::array: return "an array";
        case json::kind::object: return "an object";
    }
    return "unknown";
}

// For messages: a stranger's text, bounded and without control characters.
std::string excerpt(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, 64)) {
        const auto byte = static_cast<unsigned char>(c);
        out.push_back(byte < 0x20 || byte >= 0x7f ? '?' : c);
    }
    if (text.size() > 64) {
        out += "...";
    }
    return out;
}

}  // namespace

Reader::Reader(const json::value* value, std::string path, std::vector<Error>& errors)
    : path_(std::move(path)), errors_(&errors) {
    if (value == nullptr || value->is_null()) {
        return;
    }
    object_ = value->if_object();
    if (object_ == nullptr) {
        note("InvalidRequestFormat", path_,
             fmt::format("{} is {}, expected an object", path_.empty() ? "the body" : path_,
                         kind_word(value->kind())));
    }
}

std::string Reader::path(std::string_view name) const {
    return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

std::vector<std::string> Reader::names() const {
    std::vector<std::string> out;
    for (std::size_t i = 0; object_ != nullptr && i < object_->size(); ++i) {
        const auto& member = *(object_->begin() + static_cast<std::ptrdiff_t>(i));
        if (!member.value().is_null()) {
            out.emplace_back(member.key());
        }
    }
    return out;
}

void Reader::note(std::string_view arm_code, std::string target, std::string message) const {
    if (errors_->size() < limits::kErrorsPerBody) {
        errors_->push_back(Error{Code::kInvalidArgument,
                                 std::move(message),
                                 std::move(target),
                                 std::string(arm_code),
                                 {}});
    }
}

void Reader::refuse_reference(std::string_view name) const {
    if (has(name)) {
        note("InvalidResourceReference", path(name),
             fmt::format("{}: the resource does not exist (this type is not supported yet); leave "
                         "the property out",
                         path(name)));
    }
}

void Reader::wrong(std::string_view name, std::string what) const {
    note("InvalidRequestFormat", path(name), fmt::format("{}: {}", path(name), what));
}

void Reader::missing(std::string_view name, std::string_view remedy) const {
    note("InvalidRequestContent", path(name),
         fmt::format("{} is missing{}{}", path(name), remedy.empty() ? "" : ": ", remedy));
}

const json::value* Reader::find(std::string_view name) const {
    if (object_ == nullptr) {
        return nullptr;
    }
    const json::value* found = object_->if_contains(name);
    if (found == nullptr) {
        const auto it = std::ranges::find_if(
            *object_, [name](const auto& member) { return model::same_name(member.key(), name); });
        found = it == object_->end() ? nullptr : &it->value();
    }
    return found == nullptr || found->is_null() ? nullptr : found;
}

const json::value* Reader::find(std::string_view name, json::kind kind) const {
    const json::value* found = find(name);
    if (found != nullptr && found->kind() != kind) {
        wrong(name, fmt::format("is {}, expected {}", kind_word(found->kind()), kind_word(kind)));
        return nullptr;
    }
    return found;
}

Reader Reader::object(std::string_view name) const {
    const json::value* found = find(name, json::kind::object);
    return {found == nullptr ? nullptr : found->if_object(), path(name), errors_};
}

std::optional<std::string> Reader::string(std::string_view name, std::size_t max_chars) const {
    const json::value* found = find(name, json::kind::string);
    if (found == nullptr) {
        return std::nullopt;
    }
    const json::string& text = found->get_string();
    if (text.size() > max_chars) {
        wrong(name,
              fmt::format("has {} characters, at most {} are allowed", text.size(), max_chars));
        return std::nullopt;
    }
    return std::string(text);
}

std::optional<bool> Reader::boolean(std::string_view name) const {
    const json::value* found = find(name, json::kind::bool_);
    return found == nullptr ? std::nullopt : std::optional(found->get_bool());
}

std::optional<std::uint32_t> Reader::number(std::string_view name, std::uint32_t max) const {
    const json::value* found = find(name);
    if (found == nullptr) {
        return std::nullopt;
    }
    double value = -1;
    switch (found->kind()) {
        case json::kind::int64: value = static_cast<double>(found->get_int64()); break;
        case json::kind::uint64: value = static_cast<double>(found->get_uint64()); break;
        case json::kind::double_: value = found->get_double(); break;
        default:
            wrong(name, fmt::format("is {}, expected a number", kind_word(found->kind())));
            return std::nullopt;
    }
    // written so that NaN fails too
    if (!(value >= 0 && value <= max) || value != std::floor(value)) {
        wrong(name, fmt::format("is not a whole number from 0 to {}", max));
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(value);
}

const json::array* Reader::array(std::string_view name, std::size_t max_items) const {
    const json::value* found = find(name, json::kind::array);
    if (found == nullptr) {
        return nullptr;
    }
    const json::array& items = found->get_array();
    if (items.size() > max_items) {
        wrong(name,
              fmt::format("has {} elements, at most {} are allowed", items.size(), max_items));
        return nullptr;
    }
    return &items;
}

std::vector<std::string> Reader::strings(std::string_view name, std::size_t max_items,
                                         std::size_t max_chars) const {
    std::vector<std::string> out;
    const json::array* items = array(name, max_items);
    for (std::size_t i = 0; items != nullptr && i < items->size(); ++i) {
        const std::string element = fmt::format("{}[{}]", name, i);
        const json::string* text = (*items)[i].if_string();
        if (text == nullptr) {
            wrong(element, fmt::format("is {}, expected a string", kind_word((*items)[i].kind())));
        } else if (text->size() > max_chars) {
            wrong(element, fmt::format("has {} characters, at most {} are allowed", text->size(),
                                       max_chars));
        } else {
            out.emplace_back(*text);
        }
    }
    return out;
}

std::optional<net::Ipv4> Reader::address(std::string_view name) const {
    const auto text = string(name, limits::kResourceIdChars);
    if (!text || text->empty()) {
        return std::nullopt;
    }
    const auto parsed = net::Ipv4::parse(*text);
    if (!parsed) {
        wrong(name, fmt::format("'{}' is not an IPv4 address", excerpt(*text)));
        return std::nullopt;
    }
    return *parsed;
}

model::ResourceId Reader::reference(std::string_view name, bool required) const {
    const Reader sub = object(name);
    const auto text = sub.string("id", limits::kResourceIdChars);
    if (!text) {
        if (required && (!sub.present() ? !has(name) : !sub.has("id"))) {
            sub.missing("id", "give the resource's id");
        }
        return {};
    }
    const auto id = model::ResourceId::parse(*text);
    if (!id || id->empty()) {
        sub.wrong("id", id ? "names no subscription" : id.error().message);
        return {};
    }
    return model::canonical(*id);
}

std::vector<model::ResourceId> Reader::references(std::string_view name,
                                                  std::size_t max_items) const {
    std::vector<model::ResourceId> out;
    for (const Reader& element : list(name, max_items)) {
        const auto text = element.string("id", limits::kResourceIdChars);
        const auto id = text ? model::ResourceId::parse(*text) : fail(Code::kInvalidArgument, "");
        if (!text) {
            if (!element.has("id")) {
                element.missing("id", "give the resource's id");
            }
        } else if (!id || id->empty()) {
            element.wrong("id", id ? "names no subscription" : id.error().message);
        } else {
            out.push_back(model::canonical(*id));
        }
    }
    return out;
}

std::vector<Reader> Reader::list(std::string_view name, std::size_t max_items) const {
    std::vector<Reader> out;
    const json::array* items = array(name, max_items);
    for (std::size_t i = 0; items != nullptr && i < items->size(); ++i) {
        const json::value& item = (*items)[i];
        const std::string element = fmt::format("{}[{}]", name, i);
        if (!item.is_object()) {
            wrong(element, fmt::format("is {}, expected an object", kind_word(item.kind())));
            continue;
        }
        out.push_back(Reader(item.if_object(), path(element), errors_));
    }
    return out;
}

std::string Reader::raw_array(std::string_view name) const {
    const json::value* found = find(name, json::kind::array);
    if (found == nullptr || found->get_array().empty()) {
        return {};
    }
    std::string text = json::serialize(*found);
    if (text.size() > limits::kRawJsonBytes) {
        wrong(name, fmt::format("takes {} bytes, at most {} are allowed", text.size(),
                                limits::kRawJsonBytes));
        return {};
    }
    return text;
}

std::map<std::string, std::string> read_tag_map(const Reader& body) {
    std::map<std::string, std::string> tags;
    const Reader object = body.object("tags");
    for (const std::string& name : object.names()) {
        if (tags.size() == limits::kTagCount) {
            body.wrong("tags", fmt::format("has more than {} tags", limits::kTagCount));
            break;
        }
        if (name.empty() || name.size() > limits::kTagNameChars) {
            body.wrong("tags", fmt::format("a tag's name has {} characters, 1 to {} are allowed",
                                           name.size(), limits::kTagNameChars));
            continue;
        }
        tags[name] = object.string(name, limits::kTagValueChars).value_or("");
    }
    return tags;
}

void read_resource(const Reader& body, const model::ResourceId& id, model::Resource& resource) {
    resource.id = model::canonical(id);
    resource.tags = read_tag_map(body);
    const auto location = body.string("location", limits::kLocationChars);
    if (location) {
        for (const char c : model::lower(*location)) {
            if (c != ' ') {
                resource.location.push_back(c);  // "West Europe" is "westeurope"
            }
        }
    }
    if (location ? resource.location.empty() : !body.has("location")) {
        body.note("LocationRequired", "location",
                  "location is missing: give the region of the resource");
    }
}

bool reads_six(const Reader& properties) {
    constexpr std::string_view kVersion = "privateIPAddressVersion";
    constexpr std::string_view kMethod = "privateIPAllocationMethod";
    if (!properties.has(kVersion) ||
        !model::same_name(properties.string(kVersion, 16).value_or(""), "IPv6")) {
        return false;
    }
    if (properties.choice(kMethod, kAllocationNames) == model::Allocation::kStatic) {
        properties.wrong(kMethod,
                         "an IPv6 address follows from an IPv4 address of the subnet, use Dynamic");
    }
    return true;
}

AddressChoice read_address_choice(const Reader& properties) {
    AddressChoice out;
    if (reads_six(properties)) {
        out.six = true;
        return out;
    }
    const auto method = properties.choice("privateIPAllocationMethod", kAllocationNames);
    const auto address = properties.address("privateIPAddress");
    const auto version = properties.string("privateIPAddressVersion", 16);
    if (version && !model::same_name(*version, "IPv4")) {
        properties.wrong("privateIPAddressVersion",
                         fmt::format("'{}' is not supported, use IPv4 or IPv6", excerpt(*version)));
    }
    if (method.value_or(address ? model::Allocation::kStatic : model::Allocation::kDynamic) ==
        model::Allocation::kStatic) {
        out.allocation = model::Allocation::kStatic;
        out.address = address;
        if (!properties.has("privateIPAddress")) {
            properties.missing("privateIPAddress",
                               "give an address or set privateIPAllocationMethod to Dynamic");
        }
    }
    return out;
}

std::string read_name(const Reader& element) {
    const auto name = element.string("name", limits::kResourceNameChars);
    if (!name ? !element.has("name") : name->empty()) {
        element.missing("name", "every element of this list needs a name");
    }
    return name.value_or("");
}

std::vector<bool> resolve_primary(std::span<const std::optional<bool>> said) {
    std::vector<bool> out;
    for (const auto& one : said) {
        out.push_back(one.value_or(false));
    }
    if (std::ranges::find(out, true) == out.end()) {
        const auto silent = std::ranges::find(said, std::optional<bool>());
        if (silent != said.end()) {
            out[static_cast<std::size_t>(silent - said.begin())] = true;
        }
    }
    return out;
}

}  // namespace culvert::wire
