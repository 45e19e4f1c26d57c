// SPDX-License-Identifier: Apache-2.0
// A map of which a picture is taken in pieces while it changes on: what changes before the picture
// has come to it is kept as it was. So whoever writes the map down holds nobody up for long.
// A value; not thread-safe: each call comes with the lock of whoever shares it.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <utility>

namespace culvert::control {

template <typename Key, typename Value>
class Pictured {
  public:
    using Map = std::map<Key, Value>;

    const Map& all() const { return map_; }
    const Value* find(const Key& key) const {
        const auto at = map_.find(key);
        return at == map_.end() ? nullptr : &at->second;
    }
    // To be changed; made if it is not there. The reference is good until the next call of any.
    Value& change(const Key& key) {
        keep(key);
        return map_[key];
    }
    void erase(const Key& key) {
        keep(key);
        map_.erase(key);
    }

    // INVARIANT: what picture() hands out from here on is the map as it is now.
    void begin_picture() {
        pictured_ = true;
        done_.reset();
        before_.clear();
    }
    // The next ones, until `use(key, value)` says that this was enough. False: there are no more.
    template <typename Use>
    bool picture(Use&& use) {
        while (pictured_) {
            const auto now = done_ ? map_.upper_bound(*done_) : map_.begin();
            const auto kept = before_.begin();
            if (now == map_.end() && kept == before_.end()) {
                pictured_ = false;
                break;
            }
            const bool was =
                now == map_.end() || (kept != before_.end() && !(now->first < kept->first));
            done_ = was ? kept->first : now->first;
            const Value* value = !was ? &now->second : kept->second ? &*kept->second : nullptr;
            const bool enough = value != nullptr && use(*done_, *value);
            if (was) {
                before_.erase(kept);
            }
            if (enough) {
                return true;
            }
        }
        return false;
    }

  private:
    void keep(const Key& key) {
        if (!pictured_ || (done_ && !(*done_ < key)) || before_.contains(key)) {
            return;
        }
        const Value* value = find(key);
        before_.emplace(key, value == nullptr ? std::nullopt : std::optional<Value>(*value));
    }

    Map map_;
    bool pictured_ = false;
    std::optional<Key> done_;                     // the picture has come so far
    std::map<Key, std::optional<Value>> before_;  // what has changed beyond; nullopt: was not there
};

}  // namespace culvert::control
