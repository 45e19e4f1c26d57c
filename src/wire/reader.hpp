// SPDX-License-Identifier: Apache-2.0
// Reads JSON of strangers: a Reader is an object of a body at its path; every getter gives what is
// there, nothing when it is absent or null, and notes an error with its path when it has the wrong
// type. Nothing throws. Property names are found without case, as ARM does.
#pragma once

#include "model/resources.hpp"
#include "wire/names.hpp"
#include "wire/wire.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::wire {

class Reader {
  public:
    // `value` may be anything; not an object and not null is an error. Both must outlive the
    // reader.
    Reader(const boost::json::value* value, std::string path, std::vector<Error>& errors);

    // A sub-object; absent gives a reader in which everything is absent.
    Reader object(std::string_view name) const;
    bool present() const { return object_ != nullptr; }
    bool has(std::string_view name) const { return find(name) != nullptr; }
    std::vector<std::string> names() const;  // of its properties that are not null
    std::string path(std::string_view name) const;

    std::optional<std::string> string(std::string_view name, std::size_t max_chars) const;
    std::optional<bool> boolean(std::string_view name) const;
    std::optional<std::uint32_t> number(std::string_view name, std::uint32_t max) const;
    std::vector<std::string> strings(std::string_view name, std::size_t max_items,
                                     std::size_t max_chars) const;
    std::optional<net::Ipv4> address(std::string_view name) const;
    // {"id": "/subscriptions/..."} under `name`, types in canonical casing; `required` notes its
    // absence. Empty when absent or wrong.
    model::ResourceId reference(std::string_view name, bool required = false) const;
    std::vector<model::ResourceId> references(std::string_view name, std::size_t max_items) const;
    // The objects of an array; an element that is not an object is an error.
    std::vector<Reader> list(std::string_view name, std::size_t max_items) const;
    // An array kept as compact JSON, "" when absent or empty.
    std::string raw_array(std::string_view name) const;

    template <typename E, std::size_t N>
    std::optional<E> choice(std::string_view name, const Names<E, N>& names) const {
        const auto text = string(name, 256);
        if (!text) {
            return std::nullopt;
        }
        std::vector<std::string_view> words;
        for (const auto& [value, word] : names) {
            if (model::same_name(*text, word)) {
                return value;
            }
            words.push_back(word);
        }
        wrong(name, fmt::format("'{}' is not one of {}", *text, fmt::join(words, ", ")));
        return std::nullopt;
    }

    // Notes an InvalidRequestFormat / InvalidRequestContent error about a property.
    void wrong(std::string_view name, std::string what) const;
    void missing(std::string_view name, std::string_view remedy = {}) const;
    void note(std::string_view arm_code, std::string target, std::string message) const;
    // Notes that a reference is there whose type this server does not have: it can only be to
    // something that does not exist, and accepting it in silence would promise a filter or a route
    // that is not there.
    void refuse_reference(std::string_view name) const;

  private:
    Reader(const boost::json::object* object, std::string path, std::vector<Error>* errors)
        : object_(object), path_(std::move(path)), errors_(errors) {}

    const boost::json::value* find(std::string_view name) const;
    // The property if it has the kind wanted; notes an error when it has another.
    const boost::json::value* find(std::string_view name, boost::json::kind kind) const;
    const boost::json::array* array(std::string_view name, std::size_t max_items) const;

    const boost::json::object* object_ = nullptr;
    std::string path_;
    std::vector<Error>* errors_;
};

// A whole body: `fill(reader, value)` takes the value out of it; the value, or every error noted.
template <typename T, typename Fill>
Read<T> read_body(const boost::json::value& body, const Fill& fill) {
    std::vector<Error> errors;
    T value;
    fill(Reader(&body, "", errors), value);
    if (!errors.empty()) {
        return std::unexpected(std::move(errors));
    }
    return value;
}

// What every tracked resource has: id, location (required), tags, into `resource`.
void read_resource(const Reader& body, const model::ResourceId& id, model::Resource& resource);
std::map<std::string, std::string> read_tag_map(const Reader& body);

// privateIPAddress, privateIPAllocationMethod, privateIPAddressVersion of a configuration.
struct AddressChoice {
    model::Allocation allocation = model::Allocation::kDynamic;
    std::optional<net::Ipv4> address;
    bool six = false;  // the version is IPv6
};
AddressChoice read_address_choice(const Reader& properties);
// The same into a configuration that has them, with its subnet.
template <typename T>
void read_addressed(const Reader& properties, bool subnet_required, T& configuration) {
    configuration.subnet = properties.reference("subnet", subnet_required);
    const auto choice = read_address_choice(properties);
    configuration.allocation = choice.allocation;
    configuration.address = choice.address;
    if (choice.six) {
        configuration.six.emplace();  // the server gives it
    }
}

// Whether an element of a list is of IPv6. Its address is the server's to give: what a client shows
// of it is not looked at, and Static is refused.
bool reads_six(const Reader& properties);

// A name that an element of a list must have.
std::string read_name(const Reader& element);

// Which configuration is primary: as said; if nobody says so, the first that does not say it is
// not (az leaves `primary` out).
std::vector<bool> resolve_primary(std::span<const std::optional<bool>> said);

// The ipConfigurations of an interface or a service; `more(properties, configuration)` reads what
// its own have beside name, address and primary, `other(element)` takes those that belong
// elsewhere.
template <typename T, typename More, typename Other>
void read_ip_configurations(const Reader& properties, std::size_t max_items, std::vector<T>& out,
                            const More& more, const Other& other) {
    std::vector<std::optional<bool>> primary;
    for (const Reader& item : properties.list("ipConfigurations", max_items)) {
        if (other(item)) {
            continue;
        }
        T& configuration = out.emplace_back();
        configuration.name = read_name(item);
        const Reader inner = item.object("properties");
        read_addressed(inner, true, configuration);
        more(inner, configuration);
        primary.push_back(inner.boolean("primary"));
    }
    const auto resolved = resolve_primary(primary);
    for (std::size_t i = 0; i < resolved.size(); ++i) {
        out[i].primary = resolved[i];
    }
}

}  // namespace culvert::wire
