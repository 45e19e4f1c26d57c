// SPDX-License-Identifier: Apache-2.0
#include "store/store.hpp"

namespace culvert::store {

Result<std::optional<KeyValue>> Store::get(std::string_view key) {
    auto found = range(Range{.key = std::string(key)});
    if (!found) {
        return std::unexpected(std::move(found.error()));
    }
    if (found->kvs.empty()) {
        return std::optional<KeyValue>();
    }
    return std::optional<KeyValue>(std::move(found->kvs.front()));
}

Result<RangeResult> Store::list(std::string_view prefix) {
    // a key is never empty, so "\0" is the first possible one (clientv3.WithPrefix)
    std::string first = prefix.empty() ? std::string(1, '\0') : std::string(prefix);
    return range(Range{.key = std::move(first), .range_end = prefix_end(prefix)});
}

Status Store::snapshot(const std::string&) {
    return fail(Code::kInvalidArgument, "this store lives in memory: there is nothing to back up");
}

std::string prefix_end(std::string_view prefix) {
    std::string end(prefix);
    while (!end.empty()) {
        const auto last = static_cast<unsigned char>(end.back());
        if (last < 0xff) {
            end.back() = static_cast<char>(last + 1);
            return end;
        }
        end.pop_back();
    }
    return std::string(1, '\0');  // no key is beyond: "\0" means up to the last key
}

Compare absent(std::string key) { return Compare{.key = std::move(key)}; }

Compare present(std::string key) {
    return Compare{.key = std::move(key), .relation = Relation::kNotEqual};
}

Compare unchanged(std::string key, std::int64_t mod_revision) {
    return Compare{.key = std::move(key), .target = Target::kModRevision, .number = mod_revision};
}

Compare none_below(std::string_view prefix) {
    return Compare{.key = std::string(prefix), .range_end = prefix_end(prefix)};
}

Op put(std::string key, std::string value) {
    return Op{.kind = Op::Kind::kPut, .key = std::move(key), .value = std::move(value)};
}

Op erase(std::string key) { return Op{.kind = Op::Kind::kDelete, .key = std::move(key)}; }

}  // namespace culvert::store
